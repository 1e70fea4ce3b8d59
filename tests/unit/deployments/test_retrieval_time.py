"""The times of a served history reach the model as those of a trained one do."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from deployments.messages import RetrievalQuery
from deployments.retrieval import Retrieval
from tests.serving_shop import Home, Serving
from training.features.sequences import interest_histories, leave_one_out
from training.features.vocabulary import Vocabulary
from training.models.recommender import Recommender
from training.models.sequence_transformer import SequenceTransformer, Tower, TransformerConfig

MINUTE_US = 60_000_000


@pytest.fixture
def timed(serving: Serving) -> Retrieval:
    """An untrained transformer over the shop's catalogue to which pauses matter."""
    items = [entry.item for entry in serving.live.store.catalogue_since(0, limit=1_000) if entry.item]
    torch.manual_seed(0)
    tower = Tower(len(items), TransformerConfig(dim=16, elapsed=32))
    with torch.no_grad():
        tower.blocks[0].attention.by_span.normal_(std=3.0)
    vocabulary = Vocabulary(item["item_id"] for item in items)
    by_id = {item["item_id"]: item for item in items}
    recommender = Recommender.build(
        vocabulary, SequenceTransformer(tower), np.ones(len(items), np.int64), [by_id[one] for one in vocabulary.ids]
    )
    return Retrieval(recommender, serving.live, from_seq=serving.live.view.seq)


def served(retrieval: Retrieval, history: tuple[str, ...], times_us: tuple[int, ...]) -> dict[str, float]:
    (found,) = retrieval.answer([RetrievalQuery("", "history", history, times_us, most=1_000)])
    return dict(zip(found.item_ids, found.scores_C.tolist(), strict=True))


def test_a_pause_changes_the_scores(timed: Retrieval) -> None:
    history = ("i00", "i08", "i16")
    quick = served(timed, history, (0, MINUTE_US, 2 * MINUTE_US))
    slow = served(timed, history, (0, MINUTE_US, 50_000 * MINUTE_US))
    assert max(abs(quick[item_id] - slow[item_id]) for item_id in quick) > 1e-3


def test_the_context_of_a_request_is_of_now(timed: Retrieval) -> None:
    def asked(now_us: int) -> list[float]:
        query = RetrievalQuery("", "history", ("i00", "i08"), (0, MINUTE_US), ("i16",), most=1_000, as_of_us=now_us)
        (found,) = timed.answer([query])
        return found.scores_C.tolist()

    assert not np.allclose(asked(2 * MINUTE_US), asked(50_000 * MINUTE_US), atol=1e-3)


def test_a_served_history_scores_as_the_case_of_an_evaluation(timed: Retrieval, home: Home) -> None:
    recommender = timed.recommender
    events = home.shop.table("events")
    histories = interest_histories(events, recommender.vocabulary, ("view",))
    cases = leave_one_out(histories).test
    user = next(n for n, codes in enumerate(cases.inputs) if all(one != other for one, other in pairwise(codes)))
    assert cases.inputs.times_us is not None
    codes, times_us = cases.inputs[user], cases.inputs.times_us[user]
    evaluated_S = recommender.score([codes], [times_us])[0]
    history = tuple(recommender.vocabulary.ids[code] for code in codes)
    for item_id, score in served(timed, history, tuple(times_us.tolist())).items():
        assert score == pytest.approx(evaluated_S[recommender.slot(item_id)], abs=1e-5)
