"""Backbones: strides that fit the picture, and EfficientNet from a saved folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from training.contracts.errors import InputError
from training.models.backbone import BackboneConfig, build_backbone
from training.models.efficient_net import with_own_architecture
from training.models.embedders import load_embedder, save_embedder
from training.models.embedding_network import EmbeddingNetwork, NetworkEmbedder

TINY = {
    "width_coefficient": 0.1, "in_channels": [32, 16], "out_channels": [16, 24], "kernel_sizes": [3, 3],
    "strides": [1, 2], "num_block_repeats": [1, 1], "expand_ratios": [1, 2], "depthwise_padding": [],
}  # fmt: skip


@pytest.mark.parametrize("kind", ["residual", "efficientnet"])
@pytest.mark.parametrize("side", [28, 96])
def test_maps_have_the_strides_and_channels_they_say(kind: str, side: int) -> None:
    config = BackboneConfig.model_validate({"kind": kind, "width": 8, "efficientnet": TINY})
    backbone = build_backbone(config, side).eval()
    maps = backbone(torch.zeros(1, 3, side, side))
    assert tuple(found.shape[1] for found in maps) == backbone.channels
    for found, stride in zip(maps, backbone.strides, strict=True):
        assert found.shape[2] == -(-side // stride)


def test_a_small_picture_is_not_strided_away() -> None:
    assert build_backbone(BackboneConfig(width=8), 28)(torch.zeros(1, 3, 28, 28))[-1].shape[2:] == (4, 4)


def test_efficientnet_begins_with_the_weights_of_a_folder(tmp_path: Path) -> None:
    from transformers import EfficientNetConfig, EfficientNetModel

    torch.manual_seed(0)
    saved = EfficientNetModel(EfficientNetConfig(**TINY, depth_coefficient=1.0, hidden_dim=128))
    saved.save_pretrained(tmp_path / "hub")
    config = BackboneConfig(kind="efficientnet", weights=str(tmp_path / "hub"))
    backbone = build_backbone(config, 96)
    weight = backbone.state_dict()["network.embeddings.convolution.weight"]
    torch.testing.assert_close(weight, saved.embeddings.convolution.weight.detach())

    described = with_own_architecture(config)
    assert described.weights is None
    embedder = NetworkEmbedder(EmbeddingNetwork(backbone, 8), 8)
    (tmp_path / "bundle").mkdir()
    saying = save_embedder(embedder, described, tmp_path / "bundle")
    loaded = load_embedder(tmp_path / "bundle", saying, 96)
    squares = torch.randint(0, 256, (2, 96, 96, 3), dtype=torch.uint8).numpy()
    torch.testing.assert_close(torch.from_numpy(loaded.embed(squares)), torch.from_numpy(embedder.embed(squares)))


@pytest.mark.parametrize("content", [None, "pickled"])
def test_weights_that_are_not_safetensors_are_refused(content: str | None, tmp_path: Path) -> None:
    if content:
        (tmp_path / "config.json").write_text('{"model_type": "efficientnet"}')
        torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="cannot be loaded"):
        build_backbone(BackboneConfig(kind="efficientnet", weights=str(tmp_path)), 96)
