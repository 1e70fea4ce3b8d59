from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from training.losses import CHUNK_ROWS, Bonus, contrastive_loss, full_softmax_loss, sampled_softmax_loss


def problem(scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x_ND = (torch.randn(CHUNK_ROWS + 40, 8, generator=generator) * scale).requires_grad_()
    items_ID = torch.randn(30, 8, generator=generator).requires_grad_()
    return x_ND, items_ID, torch.randint(0, 30, (len(x_ND),), generator=generator)


@pytest.mark.parametrize("scale", [0.1, 1.0, 100.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_full_softmax_is_cross_entropy(scale: float, dtype: torch.dtype, tolerance: float) -> None:
    x_ND, items_ID, targets_N = problem(scale)
    expected = functional.cross_entropy(x_ND @ items_ID.t(), targets_N)
    found = full_softmax_loss(x_ND, items_ID, targets_N, dtype=dtype)
    assert found.item() == pytest.approx(expected.item(), rel=tolerance)
    for ours, theirs in zip(
        torch.autograd.grad(2 * found, (x_ND, items_ID)),
        torch.autograd.grad(2 * expected, (x_ND, items_ID)),
        strict=True,
    ):
        assert (ours - theirs).norm() <= (tolerance * 5 + 1e-5) * theirs.norm()


def test_sampled_softmax_of_the_whole_catalogue_is_the_full_one() -> None:
    x_ND, items_ID, targets_N = problem()
    uniform = torch.zeros(30)
    found = sampled_softmax_loss(x_ND, items_ID, targets_N, torch.arange(30), uniform)
    assert found.item() == pytest.approx(functional.cross_entropy(x_ND @ items_ID.t(), targets_N).item(), rel=1e-5)


def test_log_q_takes_back_how_often_a_negative_is_drawn() -> None:
    x_ND, items_ID, targets_N = problem()
    generator = torch.Generator().manual_seed(1)
    rate_I = torch.rand(30, generator=generator)
    drawn = torch.multinomial(rate_I, 20_000, replacement=True, generator=generator)
    log_q_I = (rate_I / rate_I.sum() * len(drawn)).log()
    found = sampled_softmax_loss(x_ND, items_ID, targets_N, drawn, log_q_I)
    expected = functional.cross_entropy(x_ND @ items_ID.t(), targets_N)
    assert found.item() == pytest.approx(expected.item(), rel=0.02)


@pytest.mark.parametrize("scale", [0.1, 1.0, 100.0])
def test_a_bonus_is_part_of_the_logits(scale: float) -> None:
    x_ND, items_ID, targets_N = problem(scale)
    rows = len(x_ND)
    generator = torch.Generator().manual_seed(2)
    codes_NH = torch.stack([torch.randperm(30, generator=generator)[:5] for _ in range(rows)])
    gain_NH = torch.randn(rows, 5, generator=generator).requires_grad_()
    counts_NH = torch.rand(rows, 5, generator=generator) < 0.7
    bonus_NI = torch.zeros(rows, 30).scatter_add(1, codes_NH, gain_NH * counts_NH)
    expected = functional.cross_entropy(x_ND @ items_ID.t() + bonus_NI, targets_N)
    plain_NH = torch.einsum("nd,nhd->nh", x_ND, items_ID[codes_NH])
    bonus = Bonus(codes_NH=codes_NH, plain_NH=plain_NH, gain_NH=gain_NH, counts_NH=counts_NH)
    found = full_softmax_loss(x_ND, items_ID, targets_N, bonus=bonus)
    if scale < 100:
        assert found.item() == pytest.approx(expected.item(), rel=1e-4)
        for ours, theirs in zip(
            torch.autograd.grad(found, (x_ND, items_ID, gain_NH)),
            torch.autograd.grad(expected, (x_ND, items_ID, gain_NH)),
            strict=True,
        ):
            assert (ours - theirs).norm() <= 1e-3 * theirs.norm()
    assert torch.isfinite(found)


def test_contrast_is_least_where_partners_point_alike() -> None:
    one_KD, weights_K = torch.eye(4), torch.ones(4)
    alike = contrastive_loss(one_KD, 3 * one_KD, weights_K, temperature=0.2)
    apart = contrastive_loss(one_KD, one_KD.roll(1, 0), weights_K, temperature=0.2)
    assert alike < 0.05 < apart


def test_contrast_counts_rows_by_their_weights() -> None:
    generator = torch.Generator().manual_seed(0)
    one_KD, other_KD = (torch.randn(5, 8, generator=generator) for _ in range(2))
    whole = contrastive_loss(one_KD, other_KD, torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0]), temperature=0.5)
    logits_KK = functional.normalize(one_KD, dim=1) @ functional.normalize(other_KD, dim=1).t() / 0.5
    expected = -(logits_KK.log_softmax(1)[0, 0] + logits_KK.log_softmax(0)[0, 0]) / 2
    assert whole.item() == pytest.approx(expected.item(), rel=1e-5)
