"""EfficientNet as transformers has it, read from a folder or a hub in safetensors only, or begun from nothing.

Source: Tan and Le, ICML 2019.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from training.contracts.errors import InputError, Problem, shorten
from training.models.backbone import Backbone, BackboneConfig

BASE_WIDTH = 1280


class EfficientNet(Backbone):
    """The last map of each resolution; `small` pictures are not halved by the stem."""

    def __init__(self, config: BackboneConfig, *, small: bool) -> None:
        super().__init__()
        self.network = _network(config)
        if small:
            self.network.embeddings.padding = nn.ZeroPad2d(1)
            self.network.embeddings.convolution.stride = (1, 1)
        del self.network.encoder.top_conv, self.network.encoder.top_bn
        self._places, self.strides, self.channels = _resolutions(self.network, 1 if small else 2)

    def forward(self, x_BCHW: Tensor) -> list[Tensor]:
        x_BCHW = self.network.embeddings(x_BCHW)
        maps = []
        for place, block in enumerate(self.network.encoder.blocks):
            x_BCHW = block(x_BCHW)
            if place in self._places:
                maps.append(x_BCHW)
        return maps


def with_own_architecture(config: BackboneConfig) -> BackboneConfig:
    """`config` with all fields of the network behind its `weights`, which a bundle then needs no more."""
    if config.kind != "efficientnet" or config.weights is None:
        return config
    described = _pretrained(config.weights).config.to_dict()
    return config.model_copy(update={"efficientnet": described, "weights": None})


def _resolutions(network: Any, stem_stride: int) -> tuple[frozenset[int], tuple[int, ...], tuple[int, ...]]:
    """The blocks after which the resolution falls, with the last one: their places, strides and channels."""
    places, strides, channels, stride = [], [], [], stem_stride
    blocks = list(network.encoder.blocks)
    for place, block in enumerate(blocks):
        stride *= _stride(block)
        if place + 1 == len(blocks) or _stride(blocks[place + 1]) > 1:
            places.append(place)
            strides.append(stride)
            channels.append(block.projection.project_conv.out_channels)
    return frozenset(places), tuple(strides), tuple(channels)


def _stride(block: Any) -> int:
    stride: int = block.depthwise_conv.depthwise_conv.stride[0]
    return stride


def _network(config: BackboneConfig) -> Any:
    if config.weights is not None:
        return _pretrained(config.weights)
    from transformers import EfficientNetConfig, EfficientNetModel

    fields = {key: value for key, value in config.efficientnet.items() if key != "hidden_dim"}
    width = float(fields.get("width_coefficient", 1.0))
    return EfficientNetModel(
        EfficientNetConfig(**{"width_coefficient": width, "depth_coefficient": 1.0, **fields},
                           hidden_dim=round(BASE_WIDTH * width))
    )  # fmt: skip


def _pretrained(weights: str) -> Any:
    from transformers import EfficientNetModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        return EfficientNetModel.from_pretrained(weights, use_safetensors=True, trust_remote_code=False)
    except (OSError, ValueError, ImportError) as error:
        raise InputError(
            Problem(field="backbone.weights", problem=f"cannot be loaded: {shorten(str(error), 200)}", found=weights,
                    allowed="a folder in Hugging Face's format, a name on its hub, or null for none")
        ) from error  # fmt: skip
