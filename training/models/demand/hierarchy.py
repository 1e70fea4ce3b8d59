"""Sums over series that agree at every level: item, location, category, total; reconciled by MinT.

Wickramasuriya, Athanasopoulos & Hyndman 2019 with a diagonal error covariance (weights from backtested errors), in the
projection form that solves only as many equations as there are sums.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from training.features.demand import Floats, Panel, SeriesTable

TOTAL, LEAST_VARIANCE = "total", 1e-9


@dataclass(frozen=True)
class Hierarchy:
    """`nodes` are (level, key) of the sums; member_NS is 1 where a series counts in a sum."""

    nodes: tuple[tuple[str, str], ...]
    member_NS: sp.csr_matrix

    @classmethod
    def of(cls, series: SeriesTable) -> Hierarchy:
        """The total, and each column (item, location, static names) whose values are shared by several series."""
        columns: dict[str, Sequence[object]] = {"item": series.item_id, "location": series.location}
        columns |= {name: values for name, values in series.static.items() if _names(values)}
        nodes: list[tuple[str, str]] = [(TOTAL, TOTAL)]
        rows = [np.ones(len(series))]
        seen = {tuple(range(len(series)))}
        for level, values in columns.items():
            texts = np.array(["" if value is None else str(value) for value in values], dtype=object)
            distinct = [text for text in dict.fromkeys(texts) if text]
            if not 1 < len(distinct) < len(series):
                continue
            for text in distinct:
                members = np.flatnonzero(texts == text)
                if tuple(members) not in seen:
                    seen.add(tuple(members))
                    nodes.append((level, text))
                    rows.append((texts == text).astype(float))
        return cls(tuple(nodes), sp.csr_matrix(np.stack(rows)))

    def sums(self, values_SH: Floats) -> Floats:
        """values_NH of every node."""
        return np.asarray(self.member_NS @ values_SH)

    def panel(self, panel: Panel) -> Panel:
        """The sums as series of their own; a period counts where any of a node's series is known."""
        known_NP = self.member_NS @ np.isfinite(panel.demand_SP).astype(float) > 0
        total_NP = self.member_NS @ np.nan_to_num(panel.demand_SP)
        ids = tuple(f"{level}:{key}" for level, key in self.nodes)
        table = SeriesTable(
            series_id=ids, item_id=(None,) * len(ids), location=(None,) * len(ids),
            static={name: (None,) * len(ids) for name in panel.series.static},
        )  # fmt: skip
        return replace(
            panel, series=table, demand_SP=np.where(known_NP, total_NP, np.nan), covariates={}, test_SP=None,
            censored_SP=None, sold_SP=None, schema=panel.schema.model_copy(update={"covariates": {}}),
        )  # fmt: skip

    def reconcile(
        self, base_SH: Floats, sums_NH: Floats, variance_S: Floats, variance_N: Floats
    ) -> tuple[Floats, Floats]:
        """Series and sums that agree exactly, the less changed the surer they were (variances of their errors)."""
        sure_S = np.maximum(variance_S, LEAST_VARIANCE)
        spread_NS = sp.csr_matrix(self.member_NS.multiply(sure_S[None, :]))
        system_NN = (spread_NS @ self.member_NS.T).toarray() + np.diag(np.maximum(variance_N, LEAST_VARIANCE))
        gap_NH = sums_NH - self.sums(base_SH)
        fixed_SH = base_SH + np.asarray(spread_NS.T @ np.linalg.solve(system_NN, gap_NH))
        return fixed_SH, self.sums(fixed_SH)

    def by_level(self) -> Mapping[str, np.ndarray]:
        """The nodes of each level."""
        levels = np.array([level for level, _ in self.nodes], dtype=object)
        return {level: np.flatnonzero(levels == level) for level in dict.fromkeys(levels)}


def _names(values: Sequence[object]) -> bool:
    return any(isinstance(value, str) for value in values)
