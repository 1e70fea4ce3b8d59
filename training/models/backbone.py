"""The convolutional part of a vision model: feature maps from fine to coarse, whichever network makes them."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

SMALL_SIDE = 64
"""Pictures below it keep their full resolution in the first layers: a stride of 32 leaves nothing of 28 pixels."""


class BackboneConfig(BaseModel):
    """Which network, and how large; a bundle holds all of it, so that loading asks no other place."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["residual", "efficientnet"] = "residual"
    width: int = Field(default=32, ge=4, le=512, description="channels of the residual net's first stage")
    blocks: tuple[int, int, int, int] = Field(default=(1, 1, 1, 1), description="of the residual net's four stages")
    weights: str | None = Field(
        default=None, description="efficientnet: a folder in Hugging Face's format, a name on its hub, or none"
    )
    efficientnet: dict[str, Any] = Field(
        default_factory=dict, description="fields of transformers' EfficientNetConfig, where there are no weights"
    )

    @model_validator(mode="after")
    def _of_one_kind(self) -> Self:
        if self.kind == "residual" and self.weights is not None:
            raise ValueError("weights need kind: efficientnet; a residual net begins from nothing")
        return self


class Backbone(nn.Module):
    """Maps of the picture at several strides; `channels` and `strides` are those of the maps."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    pooling_power: float = 1.0
    """Of the mean over the last map that an embedding is made of; above 1 where maps are never negative."""

    def forward(self, x_BCHW: Tensor) -> list[Tensor]:
        raise NotImplementedError


def build_backbone(config: BackboneConfig, side: int) -> Backbone:
    """The network of `config` for pictures of `side` pixels; raises InputError where its weights cannot be read."""
    if config.kind == "residual":
        from training.models.residual_net import ResidualNet

        return ResidualNet(config.width, config.blocks, small=side < SMALL_SIDE)
    from training.models.efficient_net import EfficientNet

    return EfficientNet(config, small=side < SMALL_SIDE)
