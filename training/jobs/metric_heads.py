"""What an embedding is trained against: proxies of the labels, and other views of the same picture.

To be run in float32: bfloat16 has no room for the cosine's digits that its scale, 6 to 20, brings to the front.

Sources: Zhai and Wu, BMVC 2019 (normalised softmax); Deng et al., ArcFace, CVPR 2019; Kim et al., Proxy Anchor,
CVPR 2020; Khosla et al., supervised contrast, NeurIPS 2020; Kusupati et al., Matryoshka, NeurIPS 2022.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.jobs.vision_config import VisionConfig

CONTRAST_TEMPERATURE = 0.1
SMOOTHING = 0.05
ANCHOR_SCALE, ANCHOR_MARGIN = 32.0, 0.1


class MetricHead(nn.Module):
    """One proxy for each label; the loss is the mean over the whole embedding and its prefixes."""

    def __init__(self, labels: int, config: VisionConfig) -> None:
        super().__init__()
        self.kind, self.margin, self.labels = config.head, config.margin, labels
        self.scale = config.scale or 2 * math.sqrt(2) * math.log(max(labels - 1, 2))
        self.lengths = sorted({*(length for length in config.prefixes if length < config.dim), config.dim})
        self.proxies_LD = nn.Parameter(torch.randn(labels, config.dim) / math.sqrt(config.dim))

    def forward(self, e_BD: Tensor, targets_B: Tensor) -> Tensor:
        if self.kind == "softmax":
            return functional.cross_entropy(e_BD @ self.proxies_LD.t(), targets_B, label_smoothing=SMOOTHING)
        loss = self._proxy_anchor if self.kind == "proxy_anchor" else self._softmax
        losses = [loss(self._cosines(e_BD, length), targets_B) for length in self.lengths]
        return torch.stack(losses).mean()

    def predicted(self, e_BD: Tensor) -> Tensor:
        """The label of the nearest proxy, of embeddings or prefixes of them."""
        length = e_BD.shape[1]
        if self.kind == "softmax":
            return (e_BD @ self.proxies_LD[:, :length].t()).argmax(dim=1)
        return self._cosines(e_BD, length).argmax(dim=1)

    def _cosines(self, e_BD: Tensor, length: int) -> Tensor:
        unit_BD = functional.normalize(e_BD[:, :length], dim=1)
        return unit_BD @ functional.normalize(self.proxies_LD[:, :length], dim=1).t()

    def _softmax(self, cosines_BL: Tensor, targets_B: Tensor) -> Tensor:
        if self.margin:
            own_B1 = cosines_BL.gather(1, targets_B[:, None]).clamp(-1 + 1e-6, 1 - 1e-6)
            pushed_B1 = torch.cos(torch.acos(own_B1) + self.margin)
            cosines_BL = cosines_BL.scatter(1, targets_B[:, None], pushed_B1)
        return functional.cross_entropy(self.scale * cosines_BL, targets_B, label_smoothing=SMOOTHING)

    def _proxy_anchor(self, cosines_BL: Tensor, targets_B: Tensor) -> Tensor:
        own_BL = functional.one_hot(targets_B, self.labels).bool()
        pulls_BL = (-ANCHOR_SCALE * (cosines_BL - ANCHOR_MARGIN)).masked_fill(~own_BL, -math.inf)
        pushes_BL = (ANCHOR_SCALE * (cosines_BL + ANCHOR_MARGIN)).masked_fill(own_BL, -math.inf)
        present = own_BL.any(dim=0)
        pulled = functional.softplus(pulls_BL[:, present].logsumexp(dim=0)).mean()
        return pulled + functional.softplus(pushes_BL.logsumexp(dim=0)).mean()


def view_contrast(e_ND: Tensor, targets_N: Tensor) -> Tensor:
    """Each view must be nearer to those of its label than to all others of the step."""
    unit_ND = functional.normalize(e_ND, dim=1)
    itself_NN = torch.eye(len(e_ND), dtype=torch.bool, device=e_ND.device)
    logits_NN = (unit_ND @ unit_ND.t() / CONTRAST_TEMPERATURE).masked_fill(itself_NN, -math.inf)
    own_NN = (targets_N[:, None] == targets_N[None]) & ~itself_NN
    log_shares_NN = logits_NN.log_softmax(dim=1).masked_fill(~own_NN, 0.0)
    return -(log_shares_NN.sum(dim=1) / own_NN.sum(dim=1).clamp(min=1)).mean()
