"""Pictures drawn to the proxies of their labels: found by both, and nothing changes where a label has none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.contracts.errors import InputError
from training.models.gallery import Shown
from training.models.image_baselines import ColourHistogram
from training.models.label_proxies import PROXIES_FILE, LabelProxies
from training.models.visual_search import VisualSearch

LABELS = ["bag", "hat"]


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def proxies() -> LabelProxies:
    return LabelProxies(LABELS, unit(np.random.default_rng(0).normal(size=(2, ColourHistogram().dim))))


def test_a_picture_is_found_halfway_to_its_label(proxies: LabelProxies) -> None:
    vectors = unit(np.random.default_rng(1).normal(size=(3, proxies.proxies_LD.shape[1])))
    before = vectors.copy()
    drawn = proxies.drawn(vectors, ["hat", "shoe", "bag"])
    np.testing.assert_array_equal(vectors, before)
    np.testing.assert_array_equal(drawn[1], vectors[1])
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1, atol=1e-6)
    for row, proxy in ((0, proxies.proxies_LD[1]), (2, proxies.proxies_LD[0])):
        assert drawn[row] @ vectors[row] == pytest.approx(drawn[row] @ proxy, abs=1e-6)


def test_what_a_search_takes_in_is_drawn_and_kept(proxies: LabelProxies, tmp_path: Path) -> None:
    vectors = unit(np.random.default_rng(2).normal(size=(3, proxies.proxies_LD.shape[1])))
    search = VisualSearch(ColourHistogram(), side=16, labels=LABELS, proxies=proxies)
    search.fill({"1": Shown("a", "hat")}, vectors[:1])
    search.upsert({"2": Shown("a"), "3": Shown("new")}, vectors[1:])
    expected = proxies.drawn(vectors, ["hat", "hat", "new"])
    np.testing.assert_allclose(search.index.vectors_at(np.arange(3)), expected, atol=1e-6)
    search.save(tmp_path / "bundle")
    again = VisualSearch.load(tmp_path / "bundle")
    again.upsert({"4": Shown("bag")}, vectors[:1])
    np.testing.assert_allclose(again.index.vectors_at(np.arange(3)), expected, atol=1e-6)
    np.testing.assert_allclose(again.index.vectors_at(np.array([3])), proxies.drawn(vectors[:1], ["bag"]), atol=1e-6)


def test_who_comes_back_under_the_name_of_a_deleted_item_is_not_drawn_to_it(
    proxies: LabelProxies, tmp_path: Path
) -> None:
    old, new = unit(np.random.default_rng(3).normal(size=(2, proxies.proxies_LD.shape[1])))
    search = VisualSearch(ColourHistogram(), side=16, labels=LABELS, proxies=proxies)
    search.fill({"1": Shown("bag"), "2": Shown("hat")}, np.stack([old, old]))
    search.delete_item("bag")
    search.save(tmp_path / "bundle")
    for found in (search, VisualSearch.load(tmp_path / "bundle")):
        found.upsert({"3": Shown("bag"), "4": Shown("hat")}, np.stack([new, new]))
        slots = [found.index.ids.index(image_id) for image_id in ("3", "4")]
        own, drawn = found.index.vectors_at(np.array(slots))
        np.testing.assert_allclose(own, new, atol=1e-6)
        np.testing.assert_allclose(drawn, proxies.drawn(new[None], ["hat"])[0], atol=1e-6)


def test_pictures_of_a_label_that_training_did_not_meet_are_drawn_like_the_others(tmp_path: Path) -> None:
    """Proxies are the pictures without the first direction, which photos share with pictures that were not drawn."""
    rng, dim = np.random.default_rng(4), 32
    meant = unit(rng.normal(size=(300, dim)))
    meant[:, 0] = 0.0
    vectors = unit(meant + np.eye(dim)[0] + 0.02 * rng.normal(size=meant.shape))
    labels = [str(row) for row in range(len(meant))]
    LabelProxies(labels[:200], unit(meant[:200])).fitted(vectors[:200], labels[:200]).save(tmp_path)
    found = LabelProxies.load(tmp_path, labels[:200], dim)
    assert found is not None
    known, new = found.drawn(vectors[:200], labels[:200]), found.drawn(vectors[200:], labels[200:])
    assert np.mean((new * unit(vectors[200:] + unit(meant[200:]))).sum(axis=1)) > 0.98
    assert np.mean(new[:, 0]) == pytest.approx(np.mean(known[:, 0]), abs=0.05)
    assert np.mean(known[:, 0]) < 0.8 * np.mean(vectors[:, 0])


def test_proxies_of_other_labels_are_refused(proxies: LabelProxies, tmp_path: Path) -> None:
    assert LabelProxies.load(tmp_path, LABELS, proxies.proxies_LD.shape[1]) is None
    proxies.save(tmp_path)
    with pytest.raises(InputError, match="another shape"):
        LabelProxies.load(tmp_path, [*LABELS, "shoe"], proxies.proxies_LD.shape[1])
    (tmp_path / PROXIES_FILE).write_bytes(b"none")
    with pytest.raises(InputError, match="cannot be read"):
        LabelProxies.load(tmp_path, LABELS, proxies.proxies_LD.shape[1])
