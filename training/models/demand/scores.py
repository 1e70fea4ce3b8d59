"""How forecasts are judged: WAPE, MASE, sMAPE, pinball loss and the coverage of the 80 % interval, pooled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.features.demand import Floats, Panel

LEVELS = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Judged:
    """Forecasts beside what came: [R, H] each, a row a series and origin; nan where nothing was observed.

    naive_R is the series' own in-sample one-step naive error (m = 1); quantiles_RQH are at LEVELS.
    """

    actual_RH: Floats
    mean_RH: Floats
    naive_R: Floats
    quantiles_RQH: Floats | None = None

    def scores(self) -> dict[str, float]:
        """wape mase smape (0-200), pinball coverage_80 where there are quantiles; mase without series of scale 0."""
        known = np.isfinite(self.actual_RH)
        if not known.any():
            return dict.fromkeys(("wape", "mase", "smape"), float("nan"))
        actual_RH = np.where(known, self.actual_RH, 0.0)
        error_RH = np.where(known, np.abs(actual_RH - self.mean_RH), 0.0)
        size_RH = np.abs(actual_RH) + np.abs(np.where(known, self.mean_RH, 0.0))
        scaled = known & (self.naive_R > 0)[:, None]
        scores = {
            "wape": float(error_RH.sum() / max(np.abs(actual_RH).sum(), 1e-12)),
            "mase": float((error_RH / np.maximum(self.naive_R, 1e-12)[:, None])[scaled].mean())
            if scaled.any()
            else 0.0,
            "smape": float(
                np.where(size_RH > 0, 200 * error_RH / np.where(size_RH > 0, size_RH, 1), 0.0)[known].mean()
            ),
            "scale_0": float(((self.naive_R <= 0) & known.any(1)).sum()),
        }
        if self.quantiles_RQH is not None:
            scores |= self._interval_scores(known)
        return scores

    def _interval_scores(self, known: np.ndarray) -> dict[str, float]:
        assert self.quantiles_RQH is not None
        low_RH, high_RH = self.quantiles_RQH[:, 0], self.quantiles_RQH[:, -1]
        inside = (self.actual_RH >= low_RH - 1e-9) & (self.actual_RH <= high_RH + 1e-9)
        losses = [
            np.maximum(level * (self.actual_RH - value_RH), (level - 1) * (self.actual_RH - value_RH))[known]
            for level, value_RH in zip(LEVELS, np.moveaxis(self.quantiles_RQH, 1, 0), strict=True)
        ]
        return {"pinball": float(np.mean(losses)), "coverage_80": float(inside[known].mean())}


def naive_error(panel: Panel, origin_S: np.ndarray) -> Floats:
    """scale_S: mean absolute step of what was sold between neighbours that are known, up to each origin; 0 without."""
    demand_SP = panel.as_sold().until(origin_S).demand_SP
    scale_S = np.zeros(len(panel))
    for row, history_P in enumerate(demand_SP):
        known = history_P[np.isfinite(history_P)]
        if len(known) > 1:
            scale_S[row] = np.abs(np.diff(known)).mean()
    return scale_S


def level_wapes(panel: Panel, actual_RH: Floats, mean_RH: Floats, rows_R: np.ndarray) -> dict[str, float]:
    """WAPE of sums over items, locations and all series, by origin: blocks of rows_R (the series of each row)."""
    names = {
        "item": panel.series.item_id,
        "location": panel.series.location,
        "total": ("all",) * len(panel),
    }
    known = np.isfinite(actual_RH)
    actual_RH, mean_RH = np.where(known, actual_RH, 0.0), np.where(known, mean_RH, 0.0)
    block_R = np.cumsum(np.r_[False, np.diff(rows_R) <= 0]).astype(np.int64)
    out = {}
    for level, values in names.items():
        distinct, code_S = np.unique(np.array([str(value) for value in values]), return_inverse=True)
        if len(distinct) == len(panel):
            continue
        key_R = block_R * len(distinct) + code_S[rows_R]
        size = int(key_R.max()) + 1
        error = sums(key_R, actual_RH, size) - sums(key_R, mean_RH, size)
        out[f"wape_{level}"] = float(np.abs(error).sum() / max(np.abs(sums(key_R, actual_RH, size)).sum(), 1e-12))
    return out


def sums(key_R: np.ndarray, values_RH: Floats, size: int) -> Floats:
    total = np.zeros((size, values_RH.shape[1]))
    np.add.at(total, key_R, values_RH)
    return total
