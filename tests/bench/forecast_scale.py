"""What forecasting costs by number of simulated weekly series, a straight line and its slope; and what a second
processor saves where members are fitted series by series, a Ray task a block.

python tests/bench/forecast_scale.py --series 1000 --series 10000 --series 100000 --workers 1 --workers 2
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from record import Recording

from training.contracts.covariates import CovariateSchema
from training.features.demand import Panel, SeriesTable
from training.features.periods import Frequency
from training.jobs.forecaster import ForecasterData, fit
from training.jobs.forecaster_config import ForecasterConfig
from training.jobs.job import LocalReport
from training.models.demand.smoothing import AutoEts

WEEKS, HORIZON, ANCHOR_US, SEASON = 130, 13, 345_600_000_000, 1
"""The season is AutoETS': it takes weeks without one, 52 indices are too many for it."""
CLASSICAL_SERIES, BLOCK_SERIES = 1_000, 125


def simulated(series: int, seed: int) -> Panel:
    """Gamma demand around a season, items in 20 places each."""
    rng = np.random.default_rng(seed)
    week = np.arange(WEEKS)
    level = rng.gamma(1.5, 20, (series, 1))
    wave = 1 + 0.4 * np.sin(2 * np.pi * (week / 52 + rng.random((series, 1))))
    demand = rng.poisson(level * wave).astype(float)
    ids = [(f"i{row // 20}", f"p{row % 20}") for row in range(series)]
    table = SeriesTable(
        series_id=tuple("@".join(pair) for pair in ids), item_id=tuple(item for item, _ in ids),
        location=tuple(place for _, place in ids), static={},
    )  # fmt: skip
    return Panel(
        series=table, frequency=Frequency("week", ANCHOR_US), first=2800, demand_SP=demand, covariates={},
        schema=CovariateSchema(),
    )  # fmt: skip


def measured(series: int, members: tuple[str, ...] | None) -> dict[str, Any]:
    config = ForecasterConfig(horizon=HORIZON, **({"members": members} if members else {}))
    data = ForecasterData(panel=simulated(series, 0), country="US")
    with tempfile.TemporaryDirectory() as scratch:
        wall_s, cpu_s = time.monotonic(), time.process_time()
        result = fit(config, data, LocalReport(Path(scratch) / "checkpoints"), Path(scratch) / "bundle")
        size = sum(path.stat().st_size for path in (Path(scratch) / "bundle").rglob("*") if path.is_file())
    return {
        "series": series,
        "wall_seconds": round(time.monotonic() - wall_s, 2),
        "cpu_seconds": round(time.process_time() - cpu_s, 2),
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "bundle_mib": round(size / 2**20, 2),
        "wape": result.metrics["wape"],
        "last_value_wape": result.baselines["last_value"]["wape"],
    }


def classical_seconds(workers: int, histories: list[np.ndarray]) -> float:
    """Wall time of AutoETS over all histories in Ray tasks of BLOCK_SERIES, `workers` at once."""
    import ray

    ray.init(address="local", num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    task = ray.remote(num_cpus=1)(AutoEts.fit_block)
    ray.get([task.remote(histories[:2], SEASON) for _ in range(workers)])
    begun_s = time.monotonic()
    ray.get([
        task.remote(histories[first : first + BLOCK_SERIES], SEASON) for first in range(0, len(histories), BLOCK_SERIES)
    ])  # fmt: skip
    seconds = time.monotonic() - begun_s
    ray.shutdown()
    return round(seconds, 2)


def line(rows: list[dict[str, Any]]) -> dict[str, float]:
    """CPU-seconds = fixed + slope x series, and how straight that is (R squared)."""
    count = np.array([row["series"] for row in rows], float)
    cost = np.array([row["cpu_seconds"] for row in rows], float)
    slope, fixed = np.polyfit(count, cost, 1)
    left = ((cost - fixed - slope * count) ** 2).sum()
    return {
        "milliseconds_a_series": 1e3 * float(slope),
        "fixed_seconds": float(fixed),
        "r_squared": float(1 - left / max(((cost - cost.mean()) ** 2).sum(), 1e-12)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, action="append", required=True)
    parser.add_argument("--workers", type=int, action="append", default=[], help="processors for the classical members")
    parser.add_argument("--members", help="comma separated; by default all that ship")
    options = parser.parse_args()
    recording, rows, figures = Recording("forecast_scale", seeds=[0]), list[dict[str, Any]](), dict[str, Any]()
    members = tuple(options.members.split(",")) if options.members else None
    if options.workers:
        histories = list(simulated(CLASSICAL_SERIES, 0).demand_SP)
        seconds = {workers: classical_seconds(workers, histories) for workers in options.workers}
        figures["auto_ets_seconds_by_workers"] = {"series": CLASSICAL_SERIES, **seconds}
        recording.write(figures)
    for series in options.series:
        rows.append(measured(series, members))
        figures |= {"members": members or "all", "rows": rows, **({"line": line(rows)} if len(rows) > 1 else {})}
        recording.write(figures)


if __name__ == "__main__":
    main()
