"""Sums over series that agree at every level: item, location, category, total; reconciled by MinT.

Wickramasuriya, Athanasopoulos & Hyndman 2019 with a diagonal error covariance (weights from backtested errors), in the
projection form that solves only as many equations as there are sums.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from training.features.demand import Floats, Ints, Panel, SeriesTable

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
        nodes, members = [(TOTAL, TOTAL)], [np.arange(len(series))]
        seen = {members[0].tobytes()}
        for level, values in columns.items():
            groups = _groups(values)
            if not 1 < len(groups) < len(series):
                continue
            for key, rows in groups.items():
                if rows.tobytes() not in seen:
                    seen.add(rows.tobytes())
                    nodes.append((level, key))
                    members.append(rows)
        starts = np.cumsum([0, *(len(rows) for rows in members)])
        shape = (len(nodes), len(series))
        return cls(tuple(nodes), sp.csr_matrix((np.ones(starts[-1]), np.concatenate(members), starts), shape))

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
        system_NN = spread_NS @ self.member_NS.T + sp.diags_array(np.maximum(variance_N, LEAST_VARIANCE))
        solve = splu(sp.csc_matrix(system_NN), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve
        fixed_SH = base_SH + np.asarray(spread_NS.T @ solve(sums_NH - self.sums(base_SH)))
        return fixed_SH, self.sums(fixed_SH)

    def by_level(self) -> Mapping[str, np.ndarray]:
        """The nodes of each level."""
        levels = np.array([level for level, _ in self.nodes], dtype=object)
        return {level: np.flatnonzero(levels == level) for level in dict.fromkeys(levels)}


def _groups(values: Sequence[object]) -> dict[str, Ints]:
    """The rows of each text, in the order of first sight; those without one are in none."""
    texts = np.array(["" if value is None else str(value) for value in values], dtype=object)
    distinct, first, code_S = np.unique(texts.astype(str), return_index=True, return_inverse=True)
    order_S = np.argsort(code_S, kind="stable")
    parts = np.split(order_S, np.cumsum(np.bincount(code_S, minlength=len(distinct)))[:-1])
    return {str(distinct[code]): parts[code] for code in np.argsort(first) if distinct[code]}


def _names(values: Sequence[object]) -> bool:
    return any(isinstance(value, str) for value in values)
