"""What ordering by the forecast saves over ordering by the last 4 weeks' mean, at the same share of demand met.

python tests/bench/replenishment.py --dominicks ../shared/data/forecast/dominicks_oj

The forecaster is trained once, on the weeks before the held-out ones, and forecasts anew each week from what had sold
by then; prices and promotions of coming weeks are known. Each policy orders up to its idea of the demand of lead time
and review; its safety level is swept, and its cost read off where it meets 95 % and 98 % of demand.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from record import Recording
from running_shop import run
from supplied_shops import REVIEW_WEEKS, WEEK_DAYS, Trade, of_sample, of_shop

from training.contracts.shop import Shop
from training.datasets.sample import generate
from training.features.demand import Floats, Panel, fill
from training.jobs.forecaster import JOB, ForecasterData
from training.jobs.forecaster_config import ForecasterConfig
from training.jobs.forecaster_task import task_of
from training.jobs.job import LocalReport
from training.models.forecaster import Forecaster
from training.models.inventory_simulation import Costs, Outcome, clairvoyant, play
from training.models.replenishment import demand_over, deviations_of, quantiles

MEMBERS = ("last_value", "seasonal_naive", "median_26", "seasonal_mean", "price_regression", "lightgbm")
MEAN_WEEKS = 4
WARM_UP_WEEKS = 4
"""Of the held-out weeks, left out of cost and fill rate: they live on the stock that a shop starts with."""
FILL_RATES = (0.95, 0.98)
LEVELS = (0.2, 0.35, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.88, 0.91, 0.93, 0.95, 0.965, 0.975, 0.985, 0.99, 0.995, 0.998,
          0.999, 0.9995, 0.9999, 0.99999)  # fmt: skip
COVERS = tuple(np.round(np.geomspace(0.6, 8.0, len(LEVELS)), 4).tolist())
COSTS = Costs()


Foreseen = tuple[Floats, Floats]
"""Mean and standard deviation of the demand of the protected weeks, [S, weeks of ordering]."""


def train(trade: Trade, cut: int, config: ForecasterConfig, folder: Path) -> Forecaster:
    """The forecaster job on the weeks up to `cut`: later sales do not even help to tell what sold-out weeks hid."""
    known = trade.until(cut)
    later = trade.panel.first + np.arange(trade.panel.demand_SP.shape[1]) > cut
    panel = replace(known, demand_SP=np.where(later, trade.panel.demand_SP, known.demand_SP), sold_SP=None)
    data = ForecasterData(panel=panel, country=trade.country)
    result = JOB.fit(config, data, LocalReport(folder / "checkpoints"), folder / "bundle")
    print(f"trained in {result.train_seconds:.0f} s; " + "; ".join(result.notes[:4]), file=sys.stderr, flush=True)
    return Forecaster.load(result.folder)


def by_forecast(forecaster: Forecaster, trade: Trade, cut: int, weeks: int) -> Foreseen:
    """From the forecaster's mean and 10 and 90 % quantiles, as POST /v1/replenishments takes them."""
    schema, horizon = trade.panel.schema.without_required(), trade.protected_weeks
    mean_SP, deviation_SP = np.zeros((2, len(trade.panel), weeks))
    for week in range(weeks):
        known = trade.until(cut + week)
        window = fill(known.window(cut + week, length=forecaster.memory, horizon=horizon), schema)
        mean_SH, _ = forecaster.means(window, [False] * len(window))
        low_SH, high_SH = forecaster.quantiles_of(window, mean_SH, (0.1, 0.9)).transpose(1, 0, 2)
        for row, (means_H, deviations_H) in enumerate(zip(mean_SH, deviations_of(low_SH, high_SH), strict=True)):
            demand = demand_over(horizon * WEEK_DAYS, means_H, deviations_H, WEEK_DAYS)
            mean_SP[row, week], deviation_SP[row, week] = demand.mean, demand.deviation
    return mean_SP, deviation_SP


def last_weeks(known: Panel, origin: int) -> tuple[Floats, Floats]:
    """Mean and spread of the demand of the last 4 weeks, [S]; of weeks without a row as if they were not."""
    end = origin - known.first + 1
    recent_SK = known.demand_SP[:, end - MEAN_WEEKS : end]
    seen_SK = np.isfinite(recent_SK)
    count_S = np.maximum(seen_SK.sum(1), 1)
    mean_S = np.where(seen_SK, recent_SK, 0.0).sum(1) / count_S
    squares_S = np.where(seen_SK, (recent_SK - mean_S[:, None]) ** 2, 0.0).sum(1)
    return np.maximum(mean_S, 0.0), np.sqrt(squares_S / np.maximum(count_S - 1, 1))


def by_last_weeks(trade: Trade, cut: int, weeks: int) -> Foreseen:
    """From mean and spread of the last 4 weeks."""
    found = [last_weeks(trade.until(cut + week), cut + week) for week in range(weeks)]
    mean_SP, spread_SP = (np.stack(part, axis=1) for part in zip(*found, strict=True))
    return trade.protected_weeks * mean_SP, np.sqrt(trade.protected_weeks) * spread_SP


def with_error_spread(foreseen: Foreseen, trade: Trade, cut: int) -> Foreseen:
    """The same mean, its deviation that of the errors which such means made in the weeks up to `cut`."""
    known, ahead = trade.until(cut), trade.protected_weeks
    squares_S, count_S = np.zeros((2, len(known)))
    for origin in range(known.first + MEAN_WEEKS - 1, cut - ahead + 1):
        start = origin - known.first + 1
        came_SH = known.demand_SP[:, start : start + ahead]
        error_S = came_SH.sum(1) - ahead * last_weeks(known, origin)[0]
        squares_S += np.nan_to_num(error_S) ** 2
        count_S += np.isfinite(error_S)
    deviation_S = np.sqrt(squares_S / np.maximum(count_S, 1))
    return foreseen[0], np.broadcast_to(deviation_S[:, None], foreseen[0].shape)


@dataclass(frozen=True, kw_only=True)
class Season:
    """The held-out weeks of a trade."""

    wanted_SP: Floats
    on_hand_S: Floats
    lead_weeks: int

    def outcome(self, order_up_to_SP: Floats) -> Outcome:
        """An order of a week's start is delivered at the start of the week `lead_weeks` later."""
        return play(
            self.wanted_SP, order_up_to_SP, lead=self.lead_weeks - 1, on_hand_S=self.on_hand_S, skip=WARM_UP_WEEKS
        )

    def trace(self, policy: Callable[[float], Floats], settings: Sequence[float]) -> list[dict[str, float]]:
        """Fill rate, cost and stock per unit asked for, at each setting of a policy."""
        return [{"setting": setting, **told(self.outcome(policy(setting)))} for setting in settings]


def told(outcome: Outcome) -> dict[str, float]:
    return {
        "fill_rate": outcome.fill_rate,
        "cost": outcome.cost(COSTS) / outcome.demand,
        "stock": outcome.stock / outcome.demand,
    }


def at_fill_rate(traced: list[dict[str, float]], fill_rate: float, figure: str) -> float | None:
    """Between the settings that meet a little less and a little more; None where no setting meets as much."""
    ordered = sorted(traced, key=lambda one: one["fill_rate"])
    fills = [one["fill_rate"] for one in ordered]
    if not fills[0] <= fill_rate <= fills[-1]:
        return None
    return float(np.interp(fill_rate, fills, [one[figure] for one in ordered]))


def compare(trade: Trade, config: ForecasterConfig, folder: Path) -> dict[str, Any]:
    """All policies on the held-out weeks of a trade."""
    begun_s = time.monotonic()
    task = task_of(trade.panel, config.horizon, config.origins)
    cut, weeks = int(task.cut_S[0]), task.horizon + task.origins - 1
    forecaster = train(trade, cut, config, folder)
    season, foreseen = seasons(trade, cut, weeks, forecaster)
    return {
        "series": len(trade.panel), "held_out_weeks": weeks, "warm_up_weeks": WARM_UP_WEEKS,
        "lead_weeks": trade.lead_weeks, "review_weeks": REVIEW_WEEKS, **judged(season, trade, foreseen),
        "seconds": round(time.monotonic() - begun_s, 1),
    }  # fmt: skip


def seasons(trade: Trade, cut: int, weeks: int, forecaster: Forecaster) -> tuple[Season, dict[str, Foreseen]]:
    """The held-out weeks, and what each policy expected at the start of each of them."""
    start = cut + 1 - trade.panel.first
    recent = by_last_weeks(trade, cut, weeks)
    stock_S = recent[0][:, 0] if trade.on_hand_S is None else trade.on_hand_S
    season = Season(
        wanted_SP=np.nan_to_num(trade.wanted_SP[:, start : start + weeks]),
        on_hand_S=np.where(np.isfinite(stock_S), stock_S, recent[0][:, 0]),
        lead_weeks=trade.lead_weeks,
    )
    return season, {
        "forecast": by_forecast(forecaster, trade, cut, weeks),
        "mean_and_spread_of_4_weeks": recent,
        "mean_of_4_weeks_and_its_past_errors": with_error_spread(recent, trade, cut),
    }


def judged(season: Season, trade: Trade, foreseen: dict[str, Foreseen]) -> dict[str, Any]:
    """Costs of a unit asked for, at each fill rate, beside the cheapest 4-week policy and one who knows all."""
    cover_SP = foreseen["mean_and_spread_of_4_weeks"][0]
    traced = {
        name: season.trace(lambda level, of=of: quantiles(*of, level), LEVELS)  # type: ignore[misc]
        for name, of in foreseen.items()
    }
    traced["cover_of_mean_of_4_weeks"] = season.trace(lambda cover: cover * cover_SP, COVERS)
    knowing = told(season.outcome(clairvoyant(season.wanted_SP, trade.lead_weeks - 1)))
    at = {f"{rate:g}": _at(traced, rate, knowing["cost"]) for rate in FILL_RATES}
    return {"at_fill_rate": at, "clairvoyant": knowing, "traced": traced}


def _at(traced: dict[str, list[dict[str, float]]], rate: float, knowing_cost: float) -> dict[str, Any]:
    """Policies that meet so much; one of the last 4 weeks always does: the cover has no end."""
    costs = {name: cost for name, one in traced.items() if (cost := at_fill_rate(one, rate, "cost")) is not None}
    stocks = {name: at_fill_rate(traced[name], rate, "stock") or 0.0 for name in costs}
    rival = min((name for name in costs if name != "forecast"), key=costs.__getitem__)
    own, best = costs["forecast"], costs[rival]
    return {
        "cost": costs, "stock": stocks, "cheapest_4_week_policy": rival, "cost_ratio": own / best,
        "stock_ratio": stocks["forecast"] / stocks[rival], "times_clairvoyant": own / knowing_cost,
        "share_of_gap_to_clairvoyant_closed": (best - own) / (best - knowing_cost),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dominicks", type=Path, required=True, help="a folder of the dominicks-oj format")
    parser.add_argument("--sample", type=Path, help="a generated sample shop; without it one is generated")
    parser.add_argument("--series", type=int, help="of each shop, drawn at random; by default all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    recording = Recording("replenishment", seeds=[options.seed])
    config = ForecasterConfig(
        seed=options.seed, horizon=4, origins=24, members=MEMBERS, covariate_control=False, epochs=0
    )
    figures: dict[str, Any] = {"costs": {"holding_a_unit_week": COSTS.holding, "shortage_a_unit": COSTS.shortage}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(folder / "home", "data", "import", "dominicks-oj", "--from", str(options.dominicks),
            "--out", str(folder / "oj"))  # fmt: skip
        oj = drawn(of_shop(Shop(folder / "oj"), config, lead_weeks=1), options.series, options.seed)
        figures["dominicks_oj"] = compare(oj, config, folder / "oj_fit")
        recording.write(figures)
        if not options.sample:
            generate(folder / "sample", size="small", seed=options.seed, images=False)
        sample = drawn(of_sample(options.sample or folder / "sample", config), options.series, options.seed)
        figures["sample"] = compare(sample, config, folder / "sample_fit")
    recording.write(figures)


def drawn(trade: Trade, series: int | None, seed: int) -> Trade:
    """So many of its series at random, in their order; all where None."""
    count = len(trade.panel)
    if series is None or series >= count:
        return trade
    return trade.take(np.sort(np.random.default_rng(seed).choice(count, series, replace=False)))


if __name__ == "__main__":
    main()
