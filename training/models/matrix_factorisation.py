"""Implicit matrix factorisation by alternating least squares (iALS), solved by conjugate gradients.

Source: Hu, Koren, Volinsky, ICDM 2008; Takács, Pilászy, Tikk, RecSys 2011; Rendle et al., RecSys 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy import sparse

from training.features.sequences import Moments, Sequences
from training.features.vocabulary import Codes
from training.metrics import Floats
from training.models.item_knn import decayed_incidence, incidence
from training.models.retriever import NO_GAIN, Gain, VectorRetriever

CG_STEPS = 3
FOLD_IN_STEPS = 8
LONGEST_HISTORY = 1000
ENTRIES_AT_ONCE = 262_144


class MatrixFactorisation(VectorRetriever):
    """Item factors; a user's factors are solved from the history, so a new event counts at once."""

    kind = "matrix_factorisation"

    def __init__(self, factors_ID: Floats, *, alpha: float, regularisation: float, decay: float = 1.0) -> None:
        self.factors_ID = factors_ID
        self.decay = decay
        self._problem = _Problem(alpha=alpha, regularisation=regularisation)
        self._gram_DD = factors_ID.T @ factors_ID

    @classmethod
    def fit(
        cls,
        train: Sequences,
        items: int,
        *,
        factors: int,
        iterations: int,
        alpha: float,
        regularisation: float,
        seed: int,
    ) -> Self:
        """`alpha` weighs what was not seen against what was (1.0); `regularisation` grows with an item's events."""
        seen_UI = incidence(train.last(LONGEST_HISTORY), items)
        seen_UI.data[:] = 1.0
        seen_IU = seen_UI.T.tocsr()
        rng = np.random.default_rng(seed)
        items_ID = (rng.standard_normal((items, factors)) * 0.1 / np.sqrt(factors)).astype(np.float32)
        users_UD = np.zeros((seen_UI.shape[0], factors), np.float32)
        problem = _Problem(alpha=alpha, regularisation=regularisation)
        for _ in range(iterations):
            users_UD = problem.solve(seen_UI, items_ID, users_UD, steps=CG_STEPS)
            items_ID = problem.solve(seen_IU, users_UD, items_ID, steps=CG_STEPS)
        return cls(items_ID, alpha=alpha, regularisation=regularisation)

    def with_decay(self, decay: float) -> Self:
        """The same factors; folding in, a token counts `decay` times as much as the one after it."""
        return type(self)(self.factors_ID, **{**asdict(self._problem), "decay": decay})

    @property
    def item_vectors_ID(self) -> Floats:
        return self.factors_ID

    def users(self, histories: Sequence[Codes], _times_us: Moments = None) -> tuple[Floats, list[Gain]]:
        weights_BI = decayed_incidence([h[-LONGEST_HISTORY:] for h in histories], self.items, self.decay)
        start_BD = np.zeros((len(histories), self.factors_ID.shape[1]), np.float32)
        vectors_BD = self._problem.solve(
            weights_BI, self.factors_ID, start_BD, steps=FOLD_IN_STEPS, gram_DD=self._gram_DD
        )
        return vectors_BD, [NO_GAIN] * len(histories)

    def state(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        return {"factors": self.factors_ID}, {**asdict(self._problem), "decay": self.decay}

    @classmethod
    def from_state(cls, arrays: dict[str, npt.NDArray[Any]], settings: dict[str, Any]) -> Self:
        return cls(arrays["factors"], **settings)


@dataclass(frozen=True, kw_only=True)
class _Problem:
    """Weighted ridge regression of each row of a sparse matrix on fixed factors of its columns."""

    alpha: float
    regularisation: float

    def solve(
        self,
        weights_RC: sparse.csr_matrix,
        fixed_CD: Floats,
        x_RD: Floats,
        *,
        steps: int,
        gram_DD: Floats | None = None,
    ) -> Floats:
        """`steps` of conjugate gradients from `x_RD`, all rows at once; `gram_DD` is fixed^T fixed where known."""
        unseen_DD = self.alpha * (fixed_CD.T @ fixed_CD if gram_DD is None else gram_DD)
        rows = np.repeat(np.arange(weights_RC.shape[0]), np.diff(weights_RC.indptr))
        events_R1 = np.asarray(weights_RC.sum(axis=1)) + self.alpha * fixed_CD.shape[0]
        ridge_R1 = (self.regularisation * events_R1).astype(np.float32)

        def normal(v_RD: Floats) -> Floats:
            seen_N = _products(v_RD, rows, fixed_CD, weights_RC.indices) * weights_RC.data
            seen_RC = sparse.csr_matrix((seen_N, weights_RC.indices, weights_RC.indptr), shape=weights_RC.shape)
            return v_RD @ unseen_DD + ridge_R1 * v_RD + seen_RC @ fixed_CD

        residual = weights_RC @ fixed_CD - normal(x_RD)
        direction, energy = residual.copy(), np.einsum("rd,rd->r", residual, residual)
        for _ in range(steps):
            image = normal(direction)
            step = energy / np.maximum(np.einsum("rd,rd->r", direction, image), 1e-12)
            x_RD = x_RD + step[:, None] * direction
            residual = residual - step[:, None] * image
            renewed = np.einsum("rd,rd->r", residual, residual)
            direction = residual + (renewed / np.maximum(energy, 1e-12))[:, None] * direction
            energy = renewed
        return x_RD.astype(np.float32)


def _products(
    x_RD: Floats, rows_N: npt.NDArray[np.integer[Any]], y_CD: Floats, columns_N: npt.NDArray[np.integer[Any]]
) -> Floats:
    """x[row] . y[column] of each entry, in pieces: all the vectors at once would not fit in memory."""
    products_N = np.empty(len(rows_N), np.float32)
    for first in range(0, len(rows_N), ENTRIES_AT_ONCE):
        piece = slice(first, first + ENTRIES_AT_ONCE)
        np.einsum("nd,nd->n", x_RD[rows_N[piece]], y_CD[columns_N[piece]], out=products_N[piece])
    return products_N
