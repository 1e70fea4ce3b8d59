"""The metric heads: a right embedding costs least, in each of them and in its prefixes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from training.jobs.metric_heads import MetricHead, view_contrast
from training.jobs.vision_config import VisionConfig

LABELS, DIM = 5, 16


def head(**changes: Any) -> MetricHead:
    torch.manual_seed(0)
    return MetricHead(LABELS, VisionConfig.model_validate({"dim": DIM, "prefixes": [8], **changes}))


@pytest.mark.parametrize("kind", ["normalised_softmax", "proxy_anchor", "softmax"])
def test_the_own_proxy_costs_least(kind: str) -> None:
    made, targets = head(head=kind), torch.arange(LABELS)
    own = 4 * made.proxies_LD.detach()
    assert float(made(own, targets).detach()) < float(made(own.roll(1, 0), targets).detach())
    assert made.predicted(own).tolist() == targets.tolist()


def test_a_margin_makes_it_harder() -> None:
    plain, targets = head(), torch.arange(LABELS)
    strict = head(margin=0.2)
    own = plain.proxies_LD.detach()
    assert float(strict(own, targets).detach()) > float(plain(own, targets).detach())


def test_prefixes_are_trained_too() -> None:
    """The first 8 dimensions of a right embedding with a wrong rest cost less than the other way round."""
    made, targets = head(), torch.arange(LABELS)
    right, wrong = made.proxies_LD.detach(), made.proxies_LD.detach().roll(1, 0)
    tail_wrong = torch.cat([right[:, :8], wrong[:, 8:]], dim=1)
    head_wrong = torch.cat([wrong[:, :8], right[:, 8:]], dim=1)
    assert float(made(tail_wrong, targets).detach()) < float(made(head_wrong, targets).detach())
    assert head(prefixes=[16, 64]).lengths == [16]


def test_views_of_a_picture_belong_together() -> None:
    torch.manual_seed(0)
    one, targets = functional.normalize(torch.randn(6, DIM), dim=1), torch.arange(6).repeat(2)
    together = view_contrast(torch.cat([one, one + 0.01]), targets)
    apart = view_contrast(torch.cat([one, one.roll(1, 0)]), targets)
    assert 0 <= float(together) < float(apart)
