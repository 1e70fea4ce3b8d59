"""How a sequence transformer is trained: the settings of its loop."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class TrainingConfig(BaseModel):
    """How the transformer is trained."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    epochs: int = Field(default=100, ge=0, description="at most; 0 leaves the transformer out")
    patience: int = Field(default=4, ge=1, description="epochs without a better validation before it stops")
    max_train_s: float = Field(
        default=200.0, gt=0, description="wall clock of all epochs together, looked at after each"
    )
    learning_rate: float = Field(default=1e-3, gt=0)
    schedule: Literal["constant", "cosine"] = Field(
        default="constant",
        description="of learning_rate; cosine rises for one epoch and falls until the last of `epochs`",
    )
    item_start: Literal["random", "cooccurrence"] = Field(
        default="cooccurrence",
        description="item embeddings before training; cooccurrence: from who stands near whom in the histories, where "
        "the softmax is full",
    )
    weight_decay: float = Field(default=0.0, ge=0)
    average_decay: float = Field(
        default=0.998,
        ge=0,
        lt=1,
        description="of the average of the weights that is judged and served; 0 serves the last step's. Item rows of a "
        "sampled softmax have none",
    )
    tokens_per_step: int = Field(default=920, ge=1)
    full_softmax_items: int = Field(default=30_000, ge=0, description="larger catalogues get sampled softmax")
    threads: int = Field(default=1, ge=1, description="of torch; beside other work more than one is slower")
    negatives: int = Field(default=512, ge=1, description="shared by the batch, when sampled")
    item_optimizer: Literal["rowwise_adagrad", "adamw"] = Field(
        default="rowwise_adagrad",
        description="of the item table when sampled, on the rows that a step touches: rowwise_adagrad keeps 4 bytes a "
        "row, adamw 8 for each weight",
    )
    item_learning_rate: float = Field(
        default=0.05, gt=0, description="of the item table when sampled; adamw wants about learning_rate"
    )
    sharded_items: int | None = Field(
        default=1_000_000,
        ge=0,
        description="larger catalogues have the rows of their item table dealt over the workers, and sampled softmax; "
        "null never: every worker holds them all",
    )
    contrast: float = Field(
        default=0.0,
        ge=0,
        description="weight of the loss that draws an item's id and its content together, the more the rarer it is",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="of the transformer's activations; auto is bfloat16 on a GPU, else float32"
    )
    compile: bool | None = Field(default=None, description="with torch.compile; null is on a GPU only")
    largest_loss: float = Field(
        default=4.0, gt=1.0, description="a loss that stays this many times a guess's stops the run as exploded"
    )
