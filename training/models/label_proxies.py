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
from training.metrics import Floats, Ints

PROXIES_FILE, TENSOR, EXPECTED = "proxies.safetensors", "proxies", "expected"


class LabelProxies:
    """A unit vector for each of `labels`, zeros where it was forgotten.

    `expected_DD` is from a picture to the proxy that one of its label would probably have: what stands for the proxy of
    a label that training did not meet. Without it such a label's pictures lie where they are, nearer to photos than
    pictures that were drawn away from there.
    """

    def __init__(self, labels: Sequence[str], proxies_LD: Floats, expected_DD: Floats | None = None) -> None:
        self.labels, self.proxies_LD = list(labels), np.array(proxies_LD, np.float32)
        self.expected_DD = expected_DD
        self._row = {label: row for row, label in enumerate(self.labels)}

    def fitted(self, vectors_ND: Floats, labels_N: Sequence[str]) -> LabelProxies:
        """With `expected_DD` by ridge regression on pictures of known labels; the ridge is their mean eigenvalue."""
        rows_N = self._rows(labels_N)
        vectors_KD = np.asarray(vectors_ND, np.float64)[rows_N >= 0]
        gram_DD = vectors_KD.T @ vectors_KD
        ridge_DD = max(float(gram_DD.trace()) / len(gram_DD), 1e-6) * np.eye(len(gram_DD))
        expected_DD = np.linalg.solve(gram_DD + ridge_DD, vectors_KD.T @ self.proxies_LD[rows_N[rows_N >= 0]])
        return LabelProxies(self.labels, self.proxies_LD, expected_DD.astype(np.float32))

    def drawn(self, vectors_ND: Floats, labels_N: Sequence[str]) -> Floats:
        """Unit vectors halfway from each picture to its label's proxy, or to the one that is expected.

        Where neither is there, the picture stays where it is.
        """
        drawn_ND, rows_N = np.array(vectors_ND, np.float32), self._rows(labels_N)
        known_N, new_N = rows_N >= 0, rows_N < 0
        drawn_ND[known_N] = _unit(drawn_ND[known_N] + self.proxies_LD[rows_N[known_N]])
        if self.expected_DD is not None:
            drawn_ND[new_N] = _unit(drawn_ND[new_N] + _unit(drawn_ND[new_N] @ self.expected_DD))
        return drawn_ND

    def forget(self, label: str) -> None:
        """Nothing is known of it from now on: who comes back under a name may be another."""
        if label in self._row:
            self.proxies_LD[self._row[label]] = 0.0

    def _rows(self, labels_N: Sequence[str]) -> Ints:
        """-1 for a label without a proxy."""
        rows_N = np.array([self._row.get(label, -1) for label in labels_N], np.int64)
        return np.where(self.proxies_LD[rows_N].any(axis=1), rows_N, -1)

    def save(self, folder: Path) -> None:
        tensors = {TENSOR: self.proxies_LD, EXPECTED: self.expected_DD}
        held = {name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items() if value is not None}
        save_file(held, folder / PROXIES_FILE)

    @classmethod
    def load(cls, folder: Path, labels: Sequence[str], dim: int) -> Self | None:
        """None where the bundle has none; raises InputError where they are not those of `labels`."""
        file = folder / PROXIES_FILE
        if not file.is_file():
            return None
        try:
            tensors = load_file(file)
            proxies_LD, expected_DD = tensors[TENSOR], tensors.get(EXPECTED)
        except Exception as error:
            raise InputError(Problem(file=str(file), problem=f"cannot be read: {error}")) from error
        for name, value, shape in ((TENSOR, proxies_LD, (len(labels), dim)), (EXPECTED, expected_DD, (dim, dim))):
            if value is not None and value.shape != shape:
                raise InputError(
                    Problem(file=str(file), field=name, problem="of another shape", found=str(value.shape),
                            allowed=str(shape))
                )  # fmt: skip
        return cls(labels, proxies_LD, expected_DD)


def _unit(vectors_ND: Floats) -> Floats:
    return vectors_ND / np.maximum(np.linalg.norm(vectors_ND, axis=1, keepdims=True), 1e-6)
