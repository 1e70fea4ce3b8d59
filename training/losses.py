"""Softmax losses over a catalogue whose item vectors are the output weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

CHUNK_ROWS = 256
LARGEST_EXPONENT = 80.0  # exp() of more than 88 is infinite in float32 and bfloat16


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the machine multiplies it natively, else float32."""
    if device.type == "cpu":
        return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32
    return torch.bfloat16


class _FullSoftmax(torch.autograd.Function):
    """Cross-entropy whose gradients are made in the forward pass, a chunk of rows at a time.

    exp() is taken of plain logits: no maximum is subtracted unless the vectors' norms allow an overflow, and the
    division by the row's sum is folded into the two small operands of the gradient products.
    """

    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, items_ID: Tensor, targets_N: Tensor, dtype: torch.dtype) -> Tensor:
        items = items_ID.to(dtype)
        buffer_CI = torch.empty(min(CHUNK_ROWS, len(x_ND)), len(items), dtype=dtype, device=x_ND.device)
        targets_ND = items_ID[targets_N]
        x_grad, items_grad = torch.empty_like(x_ND), torch.zeros_like(items_ID)
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
            loss += (sums_C.log() + shift_C - (x_CD * targets_ND[rows]).sum(dim=1)).sum()
            x_grad[rows] = torch.mm(logits, items).float() / sums_C[:, None] - targets_ND[rows]
            items_grad += torch.mm(logits.t(), (x_CD / sums_C[:, None]).to(dtype))
        items_grad.index_add_(0, targets_N, x_ND, alpha=-1.0)
        ctx.save_for_backward(x_grad.div_(len(x_ND)), items_grad.div_(len(x_ND)))
        return loss / len(x_ND)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x_grad, items_grad = ctx.saved_tensors
        return x_grad * grads[0], items_grad * grads[0], None, None


def full_softmax_loss(
    x_ND: Tensor, items_ID: Tensor, targets_N: Tensor, *, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Mean cross-entropy of `targets_N` under softmax(x items^T); `dtype` is that of the large products."""
    return _FullSoftmax.apply(x_ND, items_ID, targets_N, dtype)


def sampled_softmax_loss(
    x_ND: Tensor, items_ID: Tensor, targets_N: Tensor, negatives_S: Tensor, log_q_I: Tensor
) -> Tensor:
    """Mean cross-entropy against negatives shared by the batch, their logits corrected by log expected draws.

    `log_q_I` is the log of how often an item is drawn among the S on average. The positive is always there, so its
    logit stays as it is; a negative that is a row's own target does not count.
    Source: Bengio and Senécal, IEEE TNN 2008; Yi et al., RecSys 2019.
    """
    positive_N = (x_ND * items_ID[targets_N]).sum(dim=1)
    negative_NS = x_ND @ items_ID[negatives_S].t() - log_q_I[negatives_S]
    negative_NS = negative_NS.masked_fill(targets_N[:, None] == negatives_S, float("-inf"))
    logits = torch.cat([positive_N[:, None], negative_NS], dim=1)
    return functional.cross_entropy(logits, torch.zeros_like(targets_N))
