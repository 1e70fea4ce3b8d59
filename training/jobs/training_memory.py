"""The tables of a transformer training and their sizes, before any of them is allocated."""

from __future__ import annotations

from training.jobs.memory import Need
from training.jobs.train_step import is_dealt, is_sampled
from training.jobs.training_config import TrainingConfig
from training.losses import CHUNK_ROWS
from training.models.sequence_transformer import TransformerConfig

FLOAT = 4
ACTIVATIONS_PER_BLOCK = 16
"""Tensors as wide as the model that one block keeps for the backward pass, dropout masks included."""
BIASES_PER_BLOCK, SPAN = 3, 8
"""Attention's biases of a block (by place, by time, their sum) for each pair of tokens; how far apart the pair is."""
SERVED_COPIES = 4
"""Item vectors of the first worker once trained: of the model, the slots, their unit length and the index."""


def training_needs(
    items: int, features: int, sizes: TransformerConfig, config: TrainingConfig, *, workers: int, repeats: bool
) -> list[Need]:
    """What each table takes in the worker that has the most."""
    row_bytes = FLOAT * sizes.dim
    tokens = max(config.tokens_per_step, sizes.max_len)
    return [
        *_item_needs(items, row_bytes, config, workers),
        Need(
            table="item feature embeddings", rows=features, row_bytes=5 * row_bytes,
            holds="weights, gradient, two moments, the best epoch's", to_set="a smaller transformer.dim, content=false",
        ),
        Need(
            table="item vectors of the bundle", rows=items, row_bytes=SERVED_COPIES * row_bytes,
            holds="of the model, the catalogue and its index", to_set="a smaller transformer.dim",
        ),
        Need(
            table="activations of a step", rows=tokens,
            row_bytes=row_bytes * (ACTIVATIONS_PER_BLOCK * sizes.blocks + 8)
            + sizes.max_len * (6 * FLOAT * repeats + _bias_bytes(sizes)),
            holds="tokens and what each block keeps for the backward pass",
            to_set="a smaller tokens_per_step, transformer.max_len, transformer.dim or transformer.blocks",
        ),
    ]  # fmt: skip


def _bias_bytes(sizes: TransformerConfig) -> int:
    """Of a pair of tokens, in all blocks together."""
    if not sizes.relative and not sizes.elapsed:
        return 0
    return BIASES_PER_BLOCK * FLOAT * sizes.heads * sizes.blocks + SPAN


def _item_needs(items: int, row_bytes: int, config: TrainingConfig, workers: int) -> list[Need]:
    if not is_sampled(items, config):
        return [
            Need(
                table="item embeddings", rows=items, row_bytes=5 * row_bytes,
                holds="weights, gradient, two moments, the best epoch's",
                to_set=f"a smaller transformer.dim, or full_softmax_items below {items} for sampled softmax",
            ),
            Need(
                table="full softmax of a step", rows=items, row_bytes=3 * row_bytes + FLOAT * CHUNK_ROWS,
                holds=f"vectors, their gradient, {CHUNK_ROWS} rows of logits",
                to_set=f"full_softmax_items below {items} for sampled softmax",
            ),
        ]  # fmt: skip
    dealt = is_dealt(items, config)
    state = 2 * row_bytes + FLOAT if config.item_optimizer == "adamw" else FLOAT
    fewer = "item_optimizer=rowwise_adagrad, " if config.item_optimizer == "adamw" else ""
    more = f"--workers above {workers} on more machines" if dealt else "sharded_items=0 with several --workers"
    return [
        Need(
            table="item embeddings", rows=-(-items // (workers if dealt else 1)), row_bytes=row_bytes + state,
            holds="weights, the optimiser's state", to_set=f"{fewer}{more}, or a smaller transformer.dim",
        ),
        Need(
            table="item rows of a step", rows=2 * config.tokens_per_step + config.negatives, row_bytes=5 * row_bytes,
            holds="rows, vectors and their gradients", to_set="a smaller tokens_per_step or negatives",
        ),
    ]  # fmt: skip
