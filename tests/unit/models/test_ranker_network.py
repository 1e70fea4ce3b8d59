"""The ranker's network: attention stands on the network without it, and reads what a pair has in common."""

from __future__ import annotations

import numpy as np
import torch

from training.features.ranking import CODE_NAMES, CONTEXT_NAMES, FEATURE_NAMES, RECENT_NAMES
from training.features.ranking_state import VOCABULARIES
from training.features.short_term import RECENT_ITEMS, REQUEST_NAMES
from training.models.ranker_network import Kind, NetworkConfig, RankerNetwork
from training.models.target_attention import Batch

SIZES = dict.fromkeys(VOCABULARIES, 9)
ROWS, REQUESTS = 12, 3


def made(kind: Kind, seed: int) -> RankerNetwork:
    torch.manual_seed(seed)
    network = RankerNetwork(SIZES, NetworkConfig(), kind)
    for name, names in (("features", FEATURE_NAMES), ("recent", RECENT_NAMES), ("context", CONTEXT_NAMES)):
        network.standardise(name, np.random.default_rng(0).normal(size=(50, len(names))))
    return network.eval()


def batch(seed: int = 0) -> Batch:
    torch.manual_seed(seed)
    recent_LRF = torch.randn(REQUESTS, RECENT_ITEMS, len(RECENT_NAMES))
    recent_LRF[..., 0] = (torch.arange(RECENT_ITEMS) >= RECENT_ITEMS // 2).float()
    return Batch(
        features_NF=torch.randn(ROWS, len(FEATURE_NAMES)), codes_NK=torch.randint(1, 9, (ROWS, len(CODE_NAMES))),
        request_N=torch.arange(ROWS) % REQUESTS, recent_LRF=recent_LRF,
        recent_LRK=torch.randint(1, 9, (REQUESTS, RECENT_ITEMS, len(CODE_NAMES))),
        context_LU=torch.randn(REQUESTS, len(CONTEXT_NAMES)),
    )  # fmt: skip


def grown(seed: int = 1) -> tuple[RankerNetwork, RankerNetwork]:
    """A network without attention, and one with attention that has adopted it."""
    plain, din = made("wide_and_deep", seed), made("din", seed + 1)
    din.adopt(plain.state_dict())
    return plain, din


def test_untrained_attention_changes_nothing() -> None:
    plain, din = grown()
    assert torch.allclose(plain(batch()), din(batch()), atol=1e-6)


def test_attention_alone_is_trained_on_what_was_adopted() -> None:
    plain, din = grown()
    optimizer = torch.optim.AdamW([weight for weight in din.parameters() if weight.requires_grad], lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        din(batch()).square().sum().backward()
        optimizer.step()
    for name, weight in plain.state_dict().items():
        assert torch.equal(weight, din.state_dict()[name]), name
    assert not torch.allclose(plain(batch()), din(batch()), atol=1e-3)


def test_attention_sees_the_order_of_what_was_touched_and_the_mean_does_not() -> None:
    plain, din = grown()
    torch.nn.init.normal_(din.attended.weight)
    torch.nn.init.normal_(din.attention.place)
    one = batch()
    turned = one._replace(recent_LRF=one.recent_LRF.clone(), recent_LRK=one.recent_LRK.clone())
    half = RECENT_ITEMS // 2
    turned.recent_LRF[:, half:], turned.recent_LRK[:, half:] = (
        one.recent_LRF[:, half:].flip(1),
        one.recent_LRK[:, half:].flip(1),
    )
    assert torch.allclose(plain(one), plain(turned), atol=1e-5)
    assert not torch.allclose(din(one), din(turned), atol=1e-3)


def test_uniform_weights_read_the_same_branch_without_telling_recent_items_apart() -> None:
    plain, pooled = made("wide_and_deep", 1), made("mean_pooling", 2)
    pooled.adopt(plain.state_dict())
    torch.nn.init.normal_(pooled.attended.weight)
    one, before = batch(), pooled(batch())
    assert not torch.allclose(plain(one), before, atol=1e-3)
    torch.nn.init.normal_(pooled.attention.weight.weight)
    assert torch.equal(pooled(one), before)


def test_the_choice_output_reads_nothing_of_the_request_and_the_others_do() -> None:
    _, din = grown()
    torch.nn.init.normal_(din.wide.weight)
    other = batch().context_LU.clone()
    other[:, [CONTEXT_NAMES.index(name) for name in REQUEST_NAMES]] += 7.0
    asked = batch()._replace(context_LU=other)
    assert torch.allclose(din(batch())[:, -1], din(asked)[:, -1], atol=1e-5)
    assert torch.allclose(din.hidden(batch()), din.hidden(asked), atol=1e-5)
    assert not torch.allclose(din(batch())[:, :-1], din(asked)[:, :-1], atol=1e-3)


def test_who_has_touched_nothing_gets_the_score_without_attention() -> None:
    plain, din = grown()
    torch.nn.init.normal_(din.attended.weight)
    nothing = batch()._replace(recent_LRF=torch.zeros(REQUESTS, RECENT_ITEMS, len(RECENT_NAMES)))
    assert torch.allclose(plain(nothing), din(nothing), atol=1e-6)


def test_a_position_counts_in_training_only() -> None:
    _, din = grown()
    torch.nn.init.normal_(din.position.weight)
    shown, nowhere = torch.zeros(ROWS, dtype=torch.long), torch.full((ROWS,), -1)
    assert not torch.allclose(din(batch(), shown)[:, 0], din(batch())[:, 0])
    assert torch.equal(din(batch(), nowhere), din(batch()))
    assert torch.equal(din(batch(), shown)[:, -1], din(batch())[:, -1])


def test_neither_retrievals_score_nor_the_length_of_a_history_is_read() -> None:
    _, din = grown()
    torch.nn.init.normal_(din.wide.weight)
    for name, names, column in (
        ("features_NF", FEATURE_NAMES, "retrieval_score"),
        ("context_LU", CONTEXT_NAMES, "history"),
    ):
        other = getattr(batch(), name).clone()
        other[:, names.index(column)] += 7.0
        assert torch.equal(din(batch()), din(batch()._replace(**{name: other})))
        other[:, names.index(column) + 1] += 7.0
        assert not torch.allclose(din(batch()), din(batch()._replace(**{name: other})), atol=1e-3)
