"""The visual search of a bundle: items by their best image, upserts, filters, re-ranking, saving."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from training.contracts.errors import InputError
from training.features.images import Picture
from training.models.backbone import BackboneConfig, build_backbone
from training.models.embedding_network import EmbeddingNetwork, NetworkEmbedder
from training.models.gallery import Shown
from training.models.graph_reranking import RerankConfig
from training.models.image_baselines import ColourHistogram, RawPixels
from training.models.visual_search import VisualSearch

SIDE = 16
SMALL = BackboneConfig(width=8)


def pictures(count: int, seed: int = 0) -> list[Picture]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, 20, 12, 3), np.uint8))


def network_search(*, reranking: RerankConfig = RerankConfig(enabled=False), dim: int = 8) -> VisualSearch:
    torch.manual_seed(0)
    network = EmbeddingNetwork(build_backbone(SMALL, SIDE), 8)
    embedder = NetworkEmbedder(network, dim)
    return VisualSearch(embedder, side=SIDE, labels=["a"], backbone=SMALL, reranking=reranking)


def filled(search: VisualSearch, items: list[str]) -> VisualSearch:
    shown = {f"p{place:02d}": Shown(item) for place, item in enumerate(items)}
    search.upsert(shown, search.embed(pictures(len(items))))
    return search


def test_vectors_have_length_one_and_do_not_depend_on_the_batch() -> None:
    search, some = network_search(), pictures(70)
    vectors = search.embed(some)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    for place in (0, 69):
        np.testing.assert_allclose(search.embed([some[place]])[0], vectors[place], atol=1e-5)
    assert search.embed([]).shape == (0, 8)


def test_a_prefix_serves_as_an_embedding() -> None:
    short, whole = network_search(dim=4).embed(pictures(3)), network_search().embed(pictures(3))
    prefix = whole[:, :4] / np.linalg.norm(whole[:, :4], axis=1, keepdims=True)
    np.testing.assert_allclose(short, prefix, atol=1e-5)


def test_an_item_comes_once_with_its_best_image() -> None:
    search = filled(network_search(), ["a", "b", "a", "c"])
    vectors = search.embed(pictures(4))
    (found,) = search.search(vectors[2:3], 10)
    assert sorted(item for item, _ in found) == ["a", "b", "c"]
    assert found[0][0] == "a"
    assert found[0][1] == pytest.approx(1.0, abs=1e-5)


def test_equal_scores_are_ordered_by_item() -> None:
    search, same = network_search(), pictures(1)[0]
    search.upsert({name: Shown(item) for name, item in (("1", "z"), ("2", "y"), ("3", "x"))}, search.embed([same] * 3))
    (found,) = search.search(search.embed([same]), 2)
    assert [item for item, _ in found] == ["x", "y"]


def test_only_allowed_items_come_back() -> None:
    search = filled(network_search(), ["a", "b", "a", "c"])
    (found,) = search.search(
        search.embed(pictures(1)), 3, np.array([item != "a" for item in search.gallery.slot_items])
    )
    assert sorted(item for item, _ in found) == ["b", "c"]


def test_a_deleted_item_is_found_no_more_and_may_come_again() -> None:
    search = filled(network_search(), ["a", "b", "a"])
    search.delete_item("a")
    search.delete_item("never")
    (found,) = search.search(search.embed(pictures(1)), 3)
    assert [item for item, _ in found] == ["b"]
    search.upsert({"p00": Shown("a")}, search.embed(pictures(1)))
    (found,) = search.search(search.embed(pictures(1)), 3)
    assert found[0][0] == "a"


def test_more_images_are_looked_at_until_there_are_enough_items() -> None:
    search = filled(network_search(reranking=RerankConfig(candidates=2)), ["many"] * 20 + ["few"])
    (found,) = search.search(search.embed(pictures(1)), 2)
    assert {item for item, _ in found} == {"many", "few"}


@pytest.mark.parametrize("enabled", [True, False])
def test_a_saved_search_answers_alike(enabled: bool, tmp_path: Path) -> None:
    search = filled(network_search(reranking=RerankConfig(enabled=enabled)), ["a", "b", "c", "d"])
    search.save(tmp_path)
    loaded, queries = VisualSearch.load(tmp_path), search.embed(pictures(3, seed=1))
    np.testing.assert_allclose(loaded.embed(pictures(3, seed=1)), queries, atol=1e-6)
    assert loaded.search(queries, 4) == search.search(queries, 4)
    assert (loaded.side, loaded.dim, loaded.labels) == (SIDE, 8, ["a"])
    assert loaded.gallery.slot_items == search.gallery.slot_items
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} <= {
        ".json", ".parquet", ".safetensors", ".faiss",
    }  # fmt: skip


@pytest.mark.parametrize("embedder", [ColourHistogram(), RawPixels(SIDE)])
def test_baselines_can_be_bundled(embedder: ColourHistogram | RawPixels, tmp_path: Path) -> None:
    search = filled(VisualSearch(embedder, side=SIDE, labels=[]), ["a", "b", "c"])
    search.save(tmp_path)
    loaded = VisualSearch.load(tmp_path)
    (found,) = loaded.search(loaded.embed(pictures(2)[1:]), 1)
    assert found[0][0] == "b"
    assert loaded.detect(pictures(2), 5) == [[], []]


def test_a_bundle_of_another_format_is_named(tmp_path: Path) -> None:
    network_search().save(tmp_path)
    (tmp_path / "model.json").write_text('{"format": 99}')
    with pytest.raises(InputError, match="another version"):
        VisualSearch.load(tmp_path)


def test_re_ranking_follows_the_neighbours() -> None:
    """The far candidate that belongs to the query's cluster comes before the near one that stands alone."""
    search = network_search(reranking=RerankConfig(neighbours=2))
    angles = {"query-side-1": 0.25, "query-side-2": 0.5, "chain-end": 0.75, "alone": -0.74}
    vectors = np.zeros((4, 8), np.float32)
    vectors[:, 0], vectors[:, 1] = np.cos(list(angles.values())), np.sin(list(angles.values()))
    search.fill({name: Shown(name) for name in angles}, vectors)
    query = np.eye(8, dtype=np.float32)[:1]
    plain = [item for item, _ in search.reordered(False).search(query, 4)[0]]
    reranked = [item for item, _ in search.search(query, 4)[0]]
    assert plain.index("alone") < plain.index("chain-end")
    assert reranked.index("chain-end") < reranked.index("alone")


def test_what_is_not_reranked_keeps_its_order() -> None:
    labels = [f"item-{number:02d}" for number in range(30)]
    plain = filled(network_search(reranking=RerankConfig(enabled=False)), labels)
    search = plain.reordered(True)
    search.reranking = RerankConfig(candidates=8)
    query = plain.index.vectors_at(np.array([17]))
    wanted = [item for item, _ in plain.search(query, 24)[0]]
    assert [item for item, _ in search.search(query, 24)[0]][8:] == wanted[8:]


def test_re_ranking_lets_images_of_one_label_speak_together() -> None:
    search = network_search(reranking=RerankConfig(sharpness=10.0))
    angles = {"odd-one": 0.1, "dress-1": 0.2, "dress-2": -0.22, "dress-3": 0.24}
    vectors = np.zeros((4, 8), np.float32)
    vectors[:, 0], vectors[:, 1] = np.cos(list(angles.values())), np.sin(list(angles.values()))
    search.fill({name: Shown(name, name.split("-")[0]) for name in angles}, vectors)
    query = np.eye(8, dtype=np.float32)[:1]
    assert search.reordered(False).search(query, 1)[0][0][0] == "odd-one"
    assert [item for item, _ in search.search(query, 4)[0]] == ["dress-1", "dress-2", "dress-3", "odd-one"]
    (own,) = search.search(vectors[:1], 1)
    assert own[0][0] == "odd-one"
