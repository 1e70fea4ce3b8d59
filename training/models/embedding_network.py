"""From pictures to vectors: a backbone, a mean over the picture, one linear layer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.metrics import Floats
from training.models.backbone import Backbone

Pixels = npt.NDArray[np.uint8]
MEAN, SPREAD = 0.5, 0.25
FORWARD_PICTURES = 64
LEAST_POOLED = 1e-4


def pixels_of(squares_NHWC: Pixels) -> Tensor:
    """x_NCHW around 0, laid out channels last."""
    bytes_NCHW = torch.from_numpy(np.require(squares_NHWC, requirements="W")).permute(0, 3, 1, 2)
    return bytes_NCHW.float().div_(255 * SPREAD).sub_(MEAN / SPREAD)


def bytes_of(x_NCHW: Tensor) -> Pixels:
    """squares_NHWC; the other way round."""
    scaled_NHWC = x_NCHW.add(MEAN / SPREAD).mul(255 * SPREAD).permute(0, 2, 3, 1)
    return np.ascontiguousarray(scaled_NHWC.round().clamp(0, 255).byte().numpy())


class EmbeddingNetwork(nn.Module):
    """e_BD, not of unit length; a prefix of an embedding is an embedding too."""

    def __init__(self, backbone: Backbone, dim: int) -> None:
        super().__init__()
        self.backbone, self.dim = backbone, dim
        self.norm = nn.BatchNorm1d(backbone.channels[-1])
        self.project = nn.Linear(backbone.channels[-1], dim)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        pooled_BC = power_mean(self.backbone(x_BCHW)[-1].float(), self.backbone.pooling_power)
        projected: Tensor = self.project(self.norm(pooled_BC))
        return projected


def power_mean(x_BCHW: Tensor, power: float) -> Tensor:
    """x_BC over each map; a power above 1 listens more to where the map is strong. Radenovic et al., TPAMI 2019."""
    if power == 1:
        return x_BCHW.mean(dim=(2, 3))
    return x_BCHW.clamp(min=LEAST_POOLED).pow(power).mean(dim=(2, 3)).pow(1 / power)


class NetworkEmbedder:
    """The first `dim` coordinates of a network's embedding at length 1, whatever else is in the batch."""

    kind = "network"

    def __init__(self, network: EmbeddingNetwork, dim: int) -> None:
        self.network, self.dim = network.eval().to(memory_format=torch.channels_last), dim

    @torch.inference_mode()
    def embed(self, squares_NHWC: Pixels) -> Floats:
        vectors = [np.zeros((0, self.dim), np.float32)]
        for first in range(0, len(squares_NHWC), FORWARD_PICTURES):
            e_BD = self.network(pixels_of(squares_NHWC[first : first + FORWARD_PICTURES])).float()
            vectors.append(functional.normalize(e_BD[:, : self.dim], dim=1).numpy())
        return np.concatenate(vectors)
