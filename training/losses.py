"""Softmax losses over a catalogue whose item vectors are the output weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

CHUNK_ROWS = 256
LARGEST_EXPONENT = 80.0  # exp() of more than 88 is infinite in float32 and bfloat16


class _LogPartition(torch.autograd.Function):
    """Mean log of sum(exp(x items^T)) + extra, whose gradients are made in the forward pass, a chunk of rows at a time.

    exp() is taken of plain logits: no maximum is subtracted unless the vectors' norms allow an overflow, and the
    division by the row's sum is folded into the two small operands of the gradient products.
    """

    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, items_ID: Tensor, extra_N: Tensor, dtype: torch.dtype) -> Tensor:
        items = items_ID.to(dtype)
        buffer_CI = torch.empty(min(CHUNK_ROWS, len(x_ND)), len(items), dtype=dtype, device=x_ND.device)
        x_grad, items_grad, extra_grad = torch.empty_like(x_ND), torch.zeros_like(items_ID), torch.empty_like(extra_N)
        reach = items_ID.norm(dim=1).max()
        loss = x_ND.new_zeros(())
        for start in range(0, len(x_ND), CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            x_CD = x_ND[rows]
            logits = torch.mm(x_CD.to(dtype), items.t(), out=buffer_CI[: len(x_CD)])
            shift_C = x_CD.new_zeros(len(x_CD))
            if bool((x_CD.norm(dim=1) * reach).max() > LARGEST_EXPONENT):
                shift_C = logits.amax(dim=1).float()
                logits -= shift_C[:, None].to(dtype)
            logits.exp_()
            sums_C = logits.sum(dim=1).float()
            # Where `extra` takes back nearly all of the sum, the sum's rounding must not turn it negative.
            sums_C = torch.maximum(sums_C + extra_N[rows] * (-shift_C).exp(), 1e-3 * sums_C)
            loss += (sums_C.log() + shift_C).sum()
            x_grad[rows] = torch.mm(logits, items).float() / sums_C[:, None]
            items_grad += torch.mm(logits.t(), (x_CD / sums_C[:, None]).to(dtype))
            extra_grad[rows] = (-shift_C).exp() / sums_C
        ctx.save_for_backward(*(grad.div_(len(x_ND)) for grad in (x_grad, items_grad, extra_grad)))
        return loss / len(x_ND)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x_grad, items_grad, extra_grad = ctx.saved_tensors
        return x_grad * grads[0], items_grad * grads[0], extra_grad * grads[0], None


@dataclass(frozen=True, kw_only=True)
class Bonus:
    """What is added to the logits of a few items H of each row: their codes, their logits without it, what they gain.

    `counts_NH` says which of them count; among these an item stands once in a row.
    """

    codes_NH: Tensor
    plain_NH: Tensor
    gain_NH: Tensor
    counts_NH: Tensor

    def of(self, targets_N: Tensor) -> Tensor:
        """The gain of each row's target, 0 where it is none of the items."""
        return (self.gain_NH * (self.counts_NH & (self.codes_NH == targets_N[:, None]))).sum(dim=1)


def contrastive_loss(one_KD: Tensor, other_KD: Tensor, weights_K: Tensor, *, temperature: float) -> Tensor:
    """Each row's vector must be told from all others by its partner's, both ways; a weighted mean over the K rows.

    Source: van den Oord et al., 2018 (InfoNCE); between an item's id and its content, Wei et al., CLCRec, MM 2021.
    """
    unit_KD, partner_KD = functional.normalize(one_KD, dim=1), functional.normalize(other_KD, dim=1)
    logits_KK, own_K = unit_KD @ partner_KD.t() / temperature, torch.arange(len(one_KD), device=one_KD.device)
    losses_K = sum(functional.cross_entropy(side, own_K, reduction="none") for side in (logits_KK, logits_KK.t())) / 2
    return (losses_K * weights_K).sum() / weights_K.sum()


def full_softmax_loss(
    x_ND: Tensor,
    items_ID: Tensor,
    targets_N: Tensor,
    *,
    bonus: Bonus | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Mean cross-entropy of `targets_N` under softmax(x items^T + bonus); `dtype` is that of the large products."""
    extra_N, target_N = x_ND.new_zeros(len(x_ND)), (x_ND * items_ID[targets_N]).sum(dim=1)
    if bonus is not None:
        plain_NH = bonus.plain_NH.clamp(max=LARGEST_EXPONENT)
        gained_NH = (plain_NH + bonus.gain_NH).clamp(max=LARGEST_EXPONENT)
        extra_N = ((gained_NH.exp() - plain_NH.exp()) * bonus.counts_NH).sum(dim=1)
        target_N = target_N + bonus.of(targets_N)
    partition: Tensor = _LogPartition.apply(x_ND, items_ID, extra_N, dtype)
    return partition - target_N.mean()


def sampled_softmax_loss(
    x_ND: Tensor,
    items_ID: Tensor,
    targets_N: Tensor,
    negatives_S: Tensor,
    log_q_I: Tensor,
    *,
    bonus: Bonus | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Mean cross-entropy against negatives shared by the batch, their logits corrected by log expected draws.

    `log_q_I` is the log of how often an item is drawn among the S on average. The positive is always there, so its
    logit stays as it is; a negative that is a row's own target does not count. `dtype` is that of the large product.
    Source: Bengio and Senécal, IEEE TNN 2008; Yi et al., RecSys 2019.
    """
    positive_N = (x_ND * items_ID[targets_N]).sum(dim=1)
    plain_NS = (x_ND.to(dtype) @ items_ID[negatives_S].to(dtype).t()).to(x_ND.dtype)
    negative_NS = plain_NS - log_q_I[negatives_S]
    negative_NS = negative_NS.masked_fill(targets_N[:, None] == negatives_S, float("-inf"))
    logits = torch.cat([positive_N[:, None], negative_NS], dim=1)
    if bonus is not None:
        counts_NH = bonus.counts_NH & (bonus.codes_NH != targets_N[:, None])
        gained_NH = (bonus.plain_NH + bonus.gain_NH).masked_fill(~counts_NH, float("-inf"))
        logits = torch.cat([(positive_N + bonus.of(targets_N))[:, None], negative_NS, gained_NH], dim=1)
    return functional.cross_entropy(logits, torch.zeros_like(targets_N))
