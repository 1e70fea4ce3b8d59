"""The order of retrieval's candidates: the network helps where that is clearly better, else it is retrieval's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit

from tests.brand_shop import Fitted, fitted
from training.jobs.ranker_calibration import (
    calibrate,
    calibrate_order,
    ndcg_gains,
    platt,
    retrieval_scores,
    retrievals_order,
    taken,
)  # fmt: skip
from training.jobs.ranker_examples import Examples
from training.jobs.ranker_judging import two_stages
from training.models.deep_ranker import DeepRanker, in_passes, network_logits, settings_of
from training.models.ranker import load_ranker
from training.models.ranker_network import RankerNetwork


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return fitted(tmp_path_factory.mktemp("logged"), log=True)


def test_a_network_that_gains_nothing_leaves_retrievals_order(logged: Fitted) -> None:
    config, data, _ = logged
    network = RankerNetwork(data.state.sizes(), config.network, "din")
    with torch.no_grad():
        for weights in network.parameters():
            weights.zero_()
    calibration, said = calibrate(network, data.heads, data.slates["validation"], data.choices["validation"])
    assert "retrieval's own" in said
    ranker, inputs = DeepRanker(network, settings_of(network, calibration)), data.test_choices.inputs
    for one, found_CH in zip(inputs, ranker.predict(inputs), strict=True):
        assert len(np.unique(ranker.order(found_CH))) == len(np.unique(one.features_CF[:, 0]))
    metrics = two_stages(ranker, data.test_choices, data.test_asked)
    assert metrics["two_stage_ndcg@10"] == pytest.approx(metrics["one_stage_ndcg@10"])


def test_retrievals_order_is_kept_where_its_scores_are_large() -> None:
    scores_N = np.array([3e5, 1e5, 2e5, 2e5 + 1])
    kept = retrievals_order(scores_N)
    assert kept.slope == 0
    logits_N = kept.retrieval * scores_N + kept.bias
    assert (np.argsort(logits_N) == np.argsort(scores_N)).all()
    assert np.abs(logits_N).max() < 3


def test_an_order_that_helps_nobody_is_left_to_retrieval(logged: Fitted) -> None:
    choices = logged[1].choices["train"]
    scores_N = retrieval_scores(choices)
    hidden_NX = np.random.default_rng(4).normal(size=(len(scores_N), 3))
    noise, said = calibrate_order(np.random.default_rng(0).normal(size=len(scores_N)), hidden_NX, choices)
    assert noise.choice == 0
    assert not noise.hidden_X.any()
    assert noise.retrieval > 0
    assert "retrieval's own" in said
    helps, said = calibrate_order(
        taken(choices) + np.random.default_rng(1).normal(size=len(scores_N)), hidden_NX, choices
    )
    assert helps.choice > 0
    assert "together" in said


def test_an_ndcg_gain_counts_only_what_stands_above_the_taken_item(
    logged: Fitted,
) -> None:
    choices = logged[1].choices["validation"]
    assert (ndcg_gains(taken(choices).astype(np.float64), choices) == 1).all()
    assert (ndcg_gains(-taken(choices).astype(np.float64), choices) < 1).all()


def test_an_order_that_tells_nothing_apart_gains_what_chance_does(logged: Fitted) -> None:
    choices = logged[1].choices["train"]
    constant = float(ndcg_gains(np.zeros(len(choices.slate_N)), choices).mean())
    rng = np.random.default_rng(0)
    chance = [float(ndcg_gains(rng.random(len(choices.slate_N)), choices).mean()) for _ in range(30)]
    assert constant == pytest.approx(np.mean(chance), abs=0.05)


def test_ties_go_by_item_id_and_the_best_placed_of_a_basket_counts(logged: Fitted) -> None:
    labels_CH = np.zeros((4, 3), np.bool_)
    labels_CH[[1, 3]] = True
    slate = replace(logged[1].choices["validation"].slates[0], item_ids=("d", "c", "a", "b"), labels_CH=labels_CH)
    basket = Examples(slates=[slate], inputs=[])
    assert ndcg_gains(np.zeros(4), basket) == pytest.approx(1 / np.log2(3))
    assert ndcg_gains(np.array([0.0, 1.0, 0.5, 0.0]), basket) == 1
    assert ndcg_gains(np.array([1.0, 0.9, 0.9, 0.0]), basket) == pytest.approx(1 / np.log2(4))


def test_two_stages_are_above_retrieval_on_choices_that_nothing_was_fitted_on(
    logged: Fitted,
) -> None:
    _, data, result = logged
    fitted_on = {(slate.user_id, slate.as_of_us) for slate in data.choices["validation"].slates}
    assert fitted_on.isdisjoint((slate.user_id, slate.as_of_us) for slate in data.test_choices.slates)
    stages = two_stages(load_ranker(result.folder), data.test_choices, data.test_asked)
    assert stages["two_stage_ndcg@10"] > stages["one_stage_ndcg@10"] + 0.05


def test_the_guard_is_judged_on_choices_its_weights_were_not_fitted_on(logged: Fitted) -> None:
    choices = logged[1].choices["validation"].take([n < 12 for n in range(len(logged[1].choices["validation"]))])
    noise_N = np.random.default_rng(3).normal(size=len(choices.slate_N))
    fitted, said = calibrate_order(noise_N, np.random.default_rng(4).normal(size=(len(noise_N), 8)), choices)
    assert fitted.choice == 0
    assert "retrieval's own" in said


def test_what_the_network_learnt_but_its_choice_output_lost_is_found_again(logged: Fitted) -> None:
    data = logged[1]
    choices, rng = data.choices["validation"], np.random.default_rng(5)
    hidden_NX = rng.normal(size=(len(choices.slate_N), 3))
    hidden_NX[:, 1] += 2.0 * taken(choices)
    order, said = calibrate_order(rng.normal(size=len(hidden_NX)), hidden_NX, choices)
    assert "together" in said
    assert order.hidden_X[1] > 3 * abs(order.hidden_X[[0, 2]]).max()


def test_a_replaced_choice_output_changes_no_other_head(logged: Fitted) -> None:
    config, data, _ = logged
    torch.manual_seed(0)
    network, inputs = RankerNetwork(data.state.sizes(), config.network, "din").eval(), data.test_choices.inputs[:5]
    before_NH, hidden_NX = network_logits(network, inputs), in_passes(network.hidden, inputs)
    weights_X = np.linspace(-1.0, 1.0, hidden_NX.shape[1])
    network.replace_choice(0.5, weights_X, 0.25)
    after_NH = network_logits(network, inputs)
    assert np.allclose(after_NH[:, :-1], before_NH[:, :-1])
    assert np.allclose(after_NH[:, -1], 0.5 * before_NH[:, -1] + hidden_NX @ weights_X + 0.25, atol=1e-5)


def test_probabilities_follow_the_length_of_histories_where_they_move_with_it() -> None:
    rng = np.random.default_rng(0)
    logits_N, lengths_N = rng.normal(size=20_000) - 2, rng.uniform(0, 4, size=20_000)
    positive_N = rng.random(20_000) < expit(0.8 * logits_N + 0.5 * lengths_N - 0.3)
    fitted = platt(logits_N, positive_N, lengths_N)
    assert [fitted.slope, fitted.history, fitted.bias] == pytest.approx([0.8, 0.5, -0.3], abs=0.1)
    assert platt(logits_N, positive_N).history == 0
