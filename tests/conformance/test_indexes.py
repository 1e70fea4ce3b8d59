"""What every index of the registry must keep, whatever is inside."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from training.contracts.errors import InputError
from training.indexes.config import IndexConfig, Kind
from training.indexes.registry import INDEXES, build_index, index_class, load_index

KINDS = sorted(INDEXES)
IDS = [f"item-{n:04d}" for n in range(1500)]
VECTORS = np.random.default_rng(0).standard_normal((1500, 16)).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_check_index(kind: Kind, tmp_path: Path) -> None:
    config = IndexConfig(kind=kind, ivf_nprobe=64)
    index = build_index(IDS, VECTORS, config)
    assert index_class(kind).kind == index.kind == kind
    assert (len(index), index.slots, index.slot("item-0007")) == (1500, 1500, 7)
    slots, scores = index.search(VECTORS[:20], 30)
    again, same = build_index(IDS, VECTORS, config).search(VECTORS[:20], 30)
    assert np.array_equal(slots, again), "builds are reproducible"
    assert np.array_equal(scores, same)
    for row in range(3):
        alone, its_scores = index.search(VECTORS[row : row + 1], 30)
        assert np.array_equal(alone[0], slots[row]), "an answer does not depend on its batch"
        assert np.array_equal(its_scores[0], scores[row])
    index.delete("item-0007")
    assert ("item-0007" in index, len(index)) == (False, 1499)
    index.save(tmp_path)
    loaded = load_index(tmp_path)
    assert type(loaded) is type(index)
    for ours, theirs in zip(index.search(VECTORS, 10), loaded.search(VECTORS, 10), strict=True):
        assert np.array_equal(ours, theirs)
    assert np.array_equal(loaded.vectors(), index.vectors())
    with pytest.raises(KeyError):
        loaded.delete("never")
    with pytest.raises(ValueError, match="covers 3 of 1500"):
        loaded.search(VECTORS[:1], 5, np.ones(3, np.bool_))
    loaded.upsert(["item-0007", "item-0007"], np.stack([VECTORS[8], VECTORS[7]]))
    assert np.array_equal(loaded.vectors(), VECTORS)
    assert loaded.slot("item-0007") == 7


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("file", ["index.json", "index.faiss", "slots.parquet"])
def test_a_damaged_file_is_named(kind: Kind, file: str, tmp_path: Path) -> None:
    build_index(IDS, VECTORS, IndexConfig(kind=kind)).save(tmp_path)
    whole = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=file):
        load_index(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(InputError, match=file):
        load_index(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("config.ivf_nprobe", 0),
        ("config.pq_bytes", "many"),
        ("config.ivf_nprob", 3),
        ("config", None),
        ("dim", "wide"),
        ("dim", -1),
        ("slots", None),
        ("kind", ["exact"]),
        ("kind", "exactly"),
    ],
)
def test_a_wrong_field_of_the_document_is_named(kind: Kind, field: str, value: object, tmp_path: Path) -> None:
    """By every way of loading."""
    build_index(IDS[:40], VECTORS[:40], IndexConfig(kind=kind)).save(tmp_path)
    document = json.loads((tmp_path / "index.json").read_text())
    place = document["config"] if "." in field else document
    place[field.rsplit(".", maxsplit=1)[-1]] = value
    (tmp_path / "index.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"index\.json") as refused:
        load_index(tmp_path)
    assert refused.value.problems[0].field == field
    with pytest.raises(InputError, match=r"index\.json"):
        index_class(kind).load(tmp_path)


@pytest.mark.parametrize("file", ["index.faiss", "slots.parquet"])
def test_files_of_two_indexes_do_not_fit(file: str, tmp_path: Path) -> None:
    for kind in KINDS:
        build_index(IDS, VECTORS, IndexConfig(kind=kind)).save(tmp_path / kind)
        build_index(IDS[:40], VECTORS[:40, :8], IndexConfig(kind=kind)).save(tmp_path / "other")
        (tmp_path / "other" / file).replace(tmp_path / kind / file)
        with pytest.raises(InputError, match=file):
            load_index(tmp_path / kind)
