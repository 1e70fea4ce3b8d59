"""The recommender of a bundle: string ids, items that come and go, cold starts."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training.features.sequences import Sequences
from training.features.vocabulary import Vocabulary
from training.models.item_knn import ItemKnn
from training.models.popularity import Popularity, training_counts
from training.models.recommender import Recommender
from training.models.retriever import Retriever
from training.models.sequence_transformer import SequenceTransformer, Tower, TransformerConfig

KINDS = ("sequence_transformer", "item_knn", "popularity")
ITEMS = 24
COLD = "item-23"


def item(number: int) -> dict[str, Any]:
    """Three families of items, told apart by their content."""
    family = ("lamp", "shoe", "book")[number % 3]
    return {"item_id": f"item-{number:02d}", "title": f"{family} {number}", "category": [family], "brand": family}


def recommender(kind: str) -> Recommender:
    rng = np.random.default_rng(0)
    vocabulary = Vocabulary(item(n)["item_id"] for n in range(ITEMS))
    histories = [(rng.integers(0, 7, 6) * 3 + user % 3).astype(np.int32) for user in range(90)]
    train = Sequences.of(histories)
    retriever: Retriever = Popularity.fit(train, ITEMS)
    if kind == "item_knn":
        retriever = ItemKnn.fit(train, ITEMS, neighbours=10, shrinkage=1.0)
    if kind == "sequence_transformer":
        torch.manual_seed(0)
        tower = Tower(ITEMS, TransformerConfig(dim=16), repeats=True)
        assert tower.repetition is not None
        torch.nn.init.normal_(tower.repetition.by_age.weight)
        retriever = SequenceTransformer(tower)
    counts_I = training_counts(train, ITEMS)
    assert counts_I[21:].sum() == 0
    return Recommender.build(vocabulary, retriever, counts_I, [item(n) for n in range(ITEMS)])


def names(found: Recommender, slots: Any) -> list[str]:
    return [found.item_ids[slot] for slot in slots]


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_recommender_answers_as_before(kind: str, tmp_path: Path) -> None:
    before = recommender(kind)
    before.save(tmp_path)
    after = Recommender.load(tmp_path)
    histories = [["item-00", "item-03"], [], ["unheard-of"], [COLD]]
    for ours, theirs in zip(before.retrieve(histories, 8), after.retrieve(histories, 8), strict=True):
        assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(ours, theirs, strict=True))
    assert after.similar("item-00", 5)[0].tolist() == before.similar("item-00", 5)[0].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_search_is_the_order_of_the_scores(kind: str) -> None:
    found = recommender(kind)
    history = ["item-00", "item-03", "item-04"]
    slots, scores = found.retrieve([history], ITEMS)
    full = found.score([found.codes(history)])[0]
    assert np.allclose(scores[0], np.sort(full)[::-1], atol=1e-5)
    assert np.allclose(full[slots[0]], scores[0], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cold_start_sees_what_is_popular(kind: str) -> None:
    found = recommender(kind)
    slots, _ = found.retrieve([[], ["unheard-of"]], 5)
    assert slots[0].tolist() == slots[1].tolist()
    assert slots[0][0] == int(np.argmax(found.counts_I))


def test_an_item_without_history_stands_with_its_likes() -> None:
    found = recommender("item_knn")
    new = {"item_id": "a-new-lamp", "title": "lamp 99", "category": ["lamp"], "brand": "lamp"}
    (slot,) = found.upsert_many([new])
    assert found.slot("a-new-lamp") == slot == ITEMS
    families = {int(name[-2:]) % 3 for name in names(found, found.similar("a-new-lamp", 4)[0])}
    assert families == {0}
    assert "a-new-lamp" in names(found, found.retrieve([["item-00", "item-06"]], 12)[0][0])
    assert "a-new-lamp" in names(found, found.similar("item-00", 12)[0])
    lamps = names(found, found.retrieve([["a-new-lamp"]], 4)[0][0])
    assert {int(name[-2:]) % 3 for name in lamps if name != "a-new-lamp"} == {0}


@pytest.mark.parametrize("kind", KINDS)
def test_masked_items_are_never_answered(kind: str) -> None:
    found = recommender(kind)
    found.upsert_many([{"item_id": "z", "title": "lamp"}])
    allowed = np.ones(len(found), np.bool_)
    allowed[3] = False
    for mask in (None, [allowed, allowed]):
        for answer in found.retrieve([["item-06"], []], 50, mask)[0]:
            shown = names(found, answer)
            assert ("item-03" in shown) == (mask is None)
            assert len(shown) == len(set(shown))
    assert "item-03" not in names(found, found.similar("item-06", 50, allowed)[0])
    later = np.ones(3, np.bool_)
    assert set(found.retrieve([[]], 50, [later])[0][0].tolist()) == {0, 1, 2}


def test_ties_go_to_the_smaller_id_wherever_its_slot() -> None:
    found = recommender("popularity")
    found.upsert_many([{"item_id": "zz"}, {"item_id": "aa"}, {"item_id": "zz"}])
    assert names(found, found.retrieve([[]], ITEMS + 2)[0][0])[-2:] == ["aa", "zz"]


def test_readers_and_a_writer_at_once() -> None:
    found = recommender("sequence_transformer")

    def read(_: int) -> int:
        return len(found.retrieve([["item-00"]], 10)[0][0])

    with ThreadPoolExecutor(4) as pool:
        reads = pool.map(read, range(100))
        for number in range(100, 160):
            found.upsert_many([item(number)])
        assert set(reads) == {10}
    assert len(found) == ITEMS + 60


@pytest.mark.parametrize("kind", KINDS)
def test_items_one_by_one_are_items_at_once(kind: str) -> None:
    later = [item(21), item(40), item(41), {**item(40), "title": "book 40", "category": ["book"]}, item(22)]
    at_once, one_by_one = recommender(kind), recommender(kind)
    slots = at_once.upsert_many([item(40), item(41), *later])
    assert [one_by_one.upsert_many([each])[0] for each in [item(40), item(41), *later]] == slots
    histories = [["item-00", "item-40"], [], ["item-41"]]
    codes = [at_once.codes(history) for history in histories]
    assert np.array_equal(at_once.score(codes), one_by_one.score(codes))
    for ours, theirs in zip(at_once.retrieve(histories, 30), one_by_one.retrieve(histories, 30), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    for mine, other in zip(at_once.similar("item-40", 30), one_by_one.similar("item-40", 30), strict=True):
        assert np.array_equal(mine, other)


def test_what_did_not_change_is_not_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    found, asked = recommender("popularity"), list[int]()
    neighbours = found.regression.neighbours

    def counted(items: Any) -> Any:
        asked.append(len(items))
        return neighbours(items)

    monkeypatch.setattr(found.regression, "neighbours", counted)
    for stock in range(3):
        found.upsert_many([{**item(n), "stock": stock} for n in (0, 22, 50)])
    found.upsert_many([{**item(50), "title": "other"}])
    assert asked == [2, 1]


def test_codes_while_items_come() -> None:
    found = recommender("popularity")
    ids = [item(number)["item_id"] for number in range(100, 200)]
    with ThreadPoolExecutor(4) as pool:
        reads = [pool.submit(found.codes, ids) for _ in range(200)]
        for number in range(100, 200):
            found.upsert_many([item(number)])
        assert all(len(read.result()) <= len(ids) for read in reads)


def test_scores_of_cold_items_take_little_memory() -> None:
    found = recommender("popularity")
    found.upsert_many([item(number) for number in range(100, 5_100)])
    tracemalloc.start()
    found.score([np.array([0], np.int32)] * 32)
    most_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most_bytes < 6 * 4 * 32 * len(found)
