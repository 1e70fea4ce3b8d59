"""What training learnt of labels that have few pictures, for their pictures to be found by.

Source: Movshovitz-Attias et al., ICCV 2017: a proxy stands for all views of its label, of which a picture is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from safetensors.numpy import load_file, save_file

from training.contracts.errors import InputError, Problem
from training.metrics import Floats

PROXIES_FILE, TENSOR = "proxies.safetensors", "proxies"


class LabelProxies:
    """A unit vector for each of `labels`, zeros where it was forgotten."""

    def __init__(self, labels: Sequence[str], proxies_LD: Floats) -> None:
        self.labels, self.proxies_LD = list(labels), np.array(proxies_LD, np.float32)
        self._row = {label: row for row, label in enumerate(self.labels)}

    def drawn(self, vectors_ND: Floats, labels_N: Sequence[str]) -> Floats:
        """Unit vectors halfway from each picture to its label's proxy; a label that has none leaves its pictures."""
        rows_N = np.array([self._row.get(label, -1) for label in labels_N], np.int64)
        known_N = rows_N >= 0
        drawn_ND = np.array(vectors_ND, np.float32)
        halfway_KD = drawn_ND[known_N] + self.proxies_LD[rows_N[known_N]]
        drawn_ND[known_N] = halfway_KD / np.maximum(np.linalg.norm(halfway_KD, axis=1, keepdims=True), 1e-6)
        return drawn_ND

    def forget(self, label: str) -> None:
        """Its pictures stay where they are from now on: who comes back under a name may be another."""
        if label in self._row:
            self.proxies_LD[self._row[label]] = 0.0

    def save(self, folder: Path) -> None:
        save_file({TENSOR: np.ascontiguousarray(self.proxies_LD, np.float32)}, folder / PROXIES_FILE)

    @classmethod
    def load(cls, folder: Path, labels: Sequence[str], dim: int) -> Self | None:
        """None where the bundle has none; raises InputError where they are not those of `labels`."""
        file = folder / PROXIES_FILE
        if not file.is_file():
            return None
        try:
            proxies_LD = load_file(file)[TENSOR]
        except Exception as error:
            raise InputError(Problem(file=str(file), problem=f"cannot be read: {error}")) from error
        if proxies_LD.shape != (len(labels), dim):
            raise InputError(
                Problem(file=str(file), field=TENSOR, problem="of another shape", found=str(proxies_LD.shape),
                        allowed=str((len(labels), dim)))
            )  # fmt: skip
        return cls(labels, proxies_LD)
