"""Everything that turns squares into vectors, and how each is kept in a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from safetensors.torch import load_file, save_file

from training.contracts.errors import InputError, Problem, nearest
from training.metrics import Floats
from training.models.backbone import BackboneConfig, build_backbone
from training.models.embedding_network import EmbeddingNetwork, NetworkEmbedder, Pixels
from training.models.image_baselines import ColourHistogram, RawPixels

WEIGHTS_FILE = "weights.safetensors"
KINDS = (NetworkEmbedder.kind, RawPixels.kind, ColourHistogram.kind)


class Embedder(Protocol):
    """Unit vectors of squares that have the side it was made for."""

    kind: str
    dim: int

    def embed(self, squares_NHWC: Pixels) -> Floats: ...


def save_embedder(embedder: Embedder, backbone: BackboneConfig, folder: Path) -> dict[str, Any]:
    """Write the weights into `folder`; returns what `load_embedder` must be told besides."""
    if not isinstance(embedder, NetworkEmbedder):
        return {"kind": embedder.kind, "dim": embedder.dim}
    tensors = {name: tensor.contiguous() for name, tensor in embedder.network.state_dict().items()}
    save_file(tensors, folder / WEIGHTS_FILE)
    full = {"full_dim": embedder.network.dim, "backbone": backbone.model_dump(mode="json")}
    return {"kind": embedder.kind, "dim": embedder.dim, **full}


def load_embedder(folder: Path, described: dict[str, Any], side: int) -> Embedder:
    """Raises InputError naming a kind that is not known here."""
    kind = described["kind"]
    if kind == ColourHistogram.kind:
        return ColourHistogram()
    if kind == RawPixels.kind:
        return RawPixels(side)
    if kind != NetworkEmbedder.kind:
        raise InputError(
            Problem(file=str(folder), field="embedder.kind", problem="unknown kind", found=str(kind),
                    allowed=", ".join(KINDS), nearest=nearest(str(kind), KINDS))
        )  # fmt: skip
    backbone = build_backbone(BackboneConfig.model_validate(described["backbone"]), side)
    network = EmbeddingNetwork(backbone, described["full_dim"])
    network.load_state_dict(load_file(folder / WEIGHTS_FILE))
    return NetworkEmbedder(network, described["dim"])
