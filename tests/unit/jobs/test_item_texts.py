"""Vectors of item texts: whitened, and encoded once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.contracts.progress import NoProgress
from training.jobs.item_texts import CACHE_VARIABLE, text_vectors
from training.models.text_encoder import MINILM
from training.models.whitening import Whitening

ITEMS = [{"item_id": f"i{n}", "title": title} for n, title in enumerate(["oak table", "red shoe", "kettle", "lamp"])]


def test_whitened_directions_vary_alike_and_apart() -> None:
    vectors = np.random.default_rng(0).normal(size=(500, 6)).astype(np.float32) * [9, 5, 3, 1, 1, 1] + 4
    components = Whitening.fit(vectors.astype(np.float32), 4)(vectors.astype(np.float32))
    np.testing.assert_allclose(np.cov(components.T, bias=True), np.eye(4) / 4, atol=1e-4)


def test_fewer_texts_than_directions_give_fewer() -> None:
    assert Whitening.fit(np.eye(3, dtype=np.float32), 64).directions_ET.shape[1] <= 3


def test_a_catalogue_is_encoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    first = text_vectors(ITEMS, MINILM, progress=NoProgress())
    (kept,) = tmp_path.rglob("*.safetensors")
    written = kept.stat().st_mtime_ns
    np.testing.assert_array_equal(text_vectors(ITEMS, MINILM, progress=NoProgress()), first)
    assert kept.stat().st_mtime_ns == written
    text_vectors(ITEMS[:3], MINILM, progress=NoProgress())
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2


def test_a_damaged_cache_is_encoded_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    first = text_vectors(ITEMS, MINILM, progress=NoProgress())
    (kept,) = tmp_path.rglob("*.safetensors")
    kept.write_bytes(kept.read_bytes()[:20])
    np.testing.assert_allclose(text_vectors(ITEMS, MINILM, progress=NoProgress()), first, atol=1e-5)
