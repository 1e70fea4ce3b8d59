"""An item that nobody has met has the vector that the trained item tower reads out of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training.contracts.errors import InputError
from training.features.vocabulary import Vocabulary
from training.metrics import Floats
from training.models.content_tower import ContentTower
from training.models.item_content import ItemContent
from training.models.item_reader import ItemReader
from training.models.recommender import Recommender
from training.models.sequence_transformer import SequenceTransformer, Tower, TransformerConfig
from training.models.text_encoder import MINILM, TextEncoder
from training.models.whitening import Whitening

DIM, ITEMS, COLD = 8, 20, 19
FAMILIES = ("lamp", "shoe")


def item(number: int) -> dict[str, Any]:
    return {"item_id": f"item-{number:02d}", "title": f"{FAMILIES[number % 2]} {number}", "brand": FAMILIES[number % 2]}


def catalogue() -> list[dict[str, Any]]:
    return [item(number) for number in range(ITEMS)]


def text_reader(items: list[dict[str, Any]]) -> tuple[ItemReader, Floats]:
    vectors_IE = TextEncoder(MINILM).encode([str(one["title"]) + ". " + str(one["brand"]) for one in items])
    return ItemReader(
        ItemReader.of_features(items, 2), encoder=MINILM, whitening=Whitening.fit(vectors_IE, 4)
    ), vectors_IE


def trained(reader: ItemReader) -> SequenceTransformer:
    """A tower with weights that are not 0; item COLD has no history."""
    torch.manual_seed(0)
    items = catalogue()
    content = ItemContent(
        DIM, features_IF=reader.features(items), text_IT=reader.texts(items), id_dropout=0.0, reader=reader
    )
    with torch.no_grad():
        for weight in content.parameters():
            weight.normal_()
    return SequenceTransformer(Tower(ITEMS, TransformerConfig(dim=DIM), content=content))


def counts() -> np.ndarray:
    counts_I = np.full(ITEMS, 5)
    counts_I[COLD] = 0
    return counts_I


def recommender(reader: ItemReader) -> Recommender:
    vocabulary = Vocabulary(one["item_id"] for one in catalogue())
    return Recommender.build(vocabulary, trained(reader), counts(), catalogue())


def features_only() -> ItemReader:
    return ItemReader(ItemReader.of_features(catalogue(), 2))


def vector(of: Recommender, item_id: str) -> np.ndarray:
    """By what it scores against unit vectors."""
    slot = of.slot(item_id)
    assert slot is not None
    return np.asarray(of._vectors_SD.rows[slot])


def unit(vector_D: np.ndarray) -> np.ndarray:
    return vector_D / np.linalg.norm(vector_D)


@pytest.mark.parametrize("text", [False, True])
def test_a_new_item_is_read_as_the_tower_reads_its_own(text: bool, tmp_path: Path) -> None:
    reader = text_reader(catalogue())[0] if text else features_only()
    content = trained(reader).tower.content
    assert content is not None
    with torch.inference_mode():
        expected_ID = content.eval().alone(torch.arange(ITEMS)).numpy()
    made = ContentTower.of(content, reader)
    made.save(tmp_path)
    loaded = ContentTower.load(tmp_path)
    assert loaded is not None
    vectors_QD, said_Q = loaded.vectors(catalogue()[3:7])
    np.testing.assert_allclose(vectors_QD, expected_ID[3:7], atol=1e-5)
    assert said_Q.all()


def test_an_item_without_history_points_where_the_tower_says_and_is_as_long_as_the_others(tmp_path: Path) -> None:
    reader = features_only()
    found = recommender(reader)
    expected_D = ContentTower.of(trained(reader).tower.content, reader).vectors([item(COLD)])[0][0]
    found.upsert_many([item(33)])
    later_D = ContentTower.of(trained(reader).tower.content, reader).vectors([item(33)])[0][0]
    length = np.mean([np.linalg.norm(vector(found, f"item-{n:02d}")) for n in range(ITEMS - 1)])
    for item_id, says_D in ((f"item-{COLD}", expected_D), ("item-33", later_D)):
        np.testing.assert_allclose(unit(vector(found, item_id)), unit(says_D), atol=1e-5)
        assert np.linalg.norm(vector(found, item_id)) == pytest.approx(length, rel=1e-5)
    before = recommender(reader)
    before.save(tmp_path)
    np.testing.assert_allclose(vector(Recommender.load(tmp_path), f"item-{COLD}"), vector(found, f"item-{COLD}"))


def test_an_item_that_says_nothing_is_not_made_up() -> None:
    found = recommender(features_only())
    found.upsert_many([{"item_id": "blank"}])
    assert not vector(found, "blank").any()


def test_without_the_encoder_a_new_item_goes_by_its_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    found = recommender(text_reader(catalogue())[0])

    def missing(*_: Any) -> Any:
        raise InputError("text_encoder cannot be loaded")

    monkeypatch.setattr("training.models.item_reader.TextEncoder", missing)
    assert found.tower is not None
    found.tower.reader._loaded = None
    found.upsert_many([item(41)])
    assert np.linalg.norm(vector(found, "item-41")) > 0
