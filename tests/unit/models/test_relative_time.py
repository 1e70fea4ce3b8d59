"""How far apart two tokens are, in places and in time, is something the transformer can tell."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from training.models.attention import spans_of
from training.models.retriever import load_retriever
from training.models.sequence_transformer import SequenceTransformer, Tower, TransformerConfig

ITEMS = 12
HISTORY = np.array([3, 7, 2], np.int32)
SECOND = 1_000_000


def model(**sizes: int) -> SequenceTransformer:
    """Untrained, with biases that are not 0."""
    torch.manual_seed(0)
    tower = Tower(ITEMS, TransformerConfig(dim=16, **sizes))
    with torch.no_grad():
        for name, weight in tower.named_parameters():
            if name.endswith(("by_span", "by_distance")):
                weight.normal_()
    return SequenceTransformer(tower)


def vector(of: SequenceTransformer, seconds: list[int] | None) -> np.ndarray:
    times_us = None if seconds is None else [np.array(seconds, np.int64) * SECOND]
    return of.users([HISTORY], times_us)[0][0]


def test_a_pause_in_a_history_changes_what_it_asks_for() -> None:
    timed = model(elapsed=32)
    assert not np.allclose(vector(timed, [0, 10, 20]), vector(timed, [0, 10, 90_000]), atol=1e-4)


def test_only_differences_of_time_count() -> None:
    timed = model(elapsed=32)
    now = 1_700_000_000
    np.testing.assert_allclose(vector(timed, [0, 10, 20]), vector(timed, [now, now + 10, now + 20]), atol=1e-5)


def test_a_model_that_has_learnt_no_time_ignores_it() -> None:
    untimed = model(elapsed=0)
    np.testing.assert_array_equal(vector(untimed, [0, 10, 20]), vector(untimed, None))


def test_a_history_is_the_same_alone_and_among_longer_ones() -> None:
    timed = model(elapsed=32, relative=4)
    long, times_us = np.arange(9, dtype=np.int32), np.arange(9) * 3 * SECOND
    together = timed.users([HISTORY, long], [np.array([0, 5, 60]) * SECOND, times_us])[0]
    np.testing.assert_allclose(together[0], vector(timed, [0, 5, 60]), atol=1e-5)


def test_spans_double_and_nothing_came_before_itself() -> None:
    spans_LL = spans_of(torch.tensor([[0, 1, 3, 1023]]) * SECOND)[0]
    assert spans_LL[:, 0].tolist() == [0, 1, 2, 10]
    assert spans_LL[0].tolist() == [0, 0, 0, 0]


def test_a_bundle_from_before_there_was_time_still_loads(tmp_path: Path) -> None:
    before = model(elapsed=0, relative=0)
    before.save(tmp_path)
    model_file = tmp_path / "model.json"
    document = json.loads(model_file.read_text(encoding="utf-8"))
    for name in ("elapsed", "relative", "token_dropout"):
        del document["settings"][name]
    model_file.write_text(json.dumps(document), encoding="utf-8")
    np.testing.assert_array_equal(load_retriever(tmp_path).score([HISTORY]), before.score([HISTORY]))


@pytest.mark.parametrize(("dim", "heads"), [(30, 4), (15, 3)])
def test_a_width_that_heads_cannot_share_is_refused(dim: int, heads: int) -> None:
    with pytest.raises(ValueError, match=str(dim)):
        TransformerConfig(dim=dim, heads=heads)
