"""Where planners ask: demand ahead, how much to order, what is worth selling."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from deployments.config import RequestConfig
from deployments.messages import (
    AskedSeries,
    AssortmentQuery,
    ForecastQuery,
    Forecasts,
    GivenCovariates,
    Missing,
    SelectionList,
    Unforecastable,
)
from deployments.middleware.limits import Deadline
from deployments.middleware.problems import HttpProblem
from deployments.releases import Loaded
from deployments.stages import StageClient
from deployments.state.clock import from_us
from training.models.replenishment import Order, Position, deviations_of, replenish

if TYPE_CHECKING:
    from deployments.gateway import Gateway

FORECASTING = "forecasting"
LOW_AND_HIGH = (0.1, 0.9)
MOST_PROBLEMS = 20


class Planner:
    """Checks and words answers; the stage forecasts."""

    def __init__(self, gateway: Gateway, stage: StageClient, *, config: RequestConfig) -> None:
        self.gateway, self.stage, self.config = gateway, stage, config

    async def forecasts(
        self,
        series: Sequence[AskedSeries],
        *,
        horizon: int | None,
        quantiles: Sequence[float],
        covariates: Sequence[GivenCovariates],
        deadline: Deadline,
    ) -> dict[str, Any]:
        """The answer of POST /v1/forecasts."""
        ask = ForecastQuery("", tuple(series), horizon, tuple(quantiles), tuple(covariates))
        release, found = await self._asked(ask, deadline)
        assert isinstance(found, Forecasts)
        return {
            "forecasts": [
                {"series_id": one.series_id, "model": one.model, "steps": _steps(one, found.quantiles)}
                for one in found.series
            ],
            "model": _model(release, found),
        }

    async def replenishments(
        self, series: Sequence[AskedSeries], positions: Sequence[Position], deadline: Deadline
    ) -> dict[str, Any]:
        """The answer of POST /v1/replenishments, an order for each position."""
        release, found = await self._asked(ForecastQuery("", tuple(series), None, LOW_AND_HIGH), deadline)
        assert isinstance(found, Forecasts)
        orders = await asyncio.to_thread(_orders, found, positions)
        return {
            "items": [
                _order(asked, one.series_id, order)
                for asked, one, order in zip(series, found.series, orders, strict=True)
            ],
            "model": _model(release, found),
        }

    async def assortment(
        self, *, category: str | None, location: str | None, limit: int, deadline: Deadline
    ) -> dict[str, Any]:
        """The answer of GET /v1/assortments."""
        release, found = await self._asked(AssortmentQuery("", category, location, limit), deadline)
        assert isinstance(found, SelectionList)
        return {
            "items": [
                {
                    "item_id": one.item_id, "decision": one.decision, "stage": one.stage,
                    "expected_units": _interval(one.units),
                    "expected_margin": None if one.margin is None else _interval(one.margin),
                    "reasons": [{"code": code, "text": text} for code, text in one.reasons],
                }
                for one in found.verdicts
            ],
            "periods": found.periods,
            "model": _model(release, found),
        }  # fmt: skip

    async def _asked(
        self, ask: ForecastQuery | AssortmentQuery, deadline: Deadline
    ) -> tuple[Loaded[None], Forecasts | SelectionList]:
        """By the current release, or the previous one where a replica lacks the current; raises HttpProblem."""
        self.gateway.forecaster.serving()
        for release in self.gateway.forecaster.releases():
            timeout_s = deadline.share_s(self.config.stages.forecasting_share)
            answer = await self.stage.ask(ask._replace(version=release.version), timeout_s=timeout_s)
            if isinstance(answer, Unforecastable):
                raise _refusal(answer)
            if isinstance(answer, Forecasts | SelectionList):
                return release, answer
            if not isinstance(answer, Missing):
                raise HttpProblem(
                    HTTPStatus.SERVICE_UNAVAILABLE, f"forecasting did not answer within {timeout_s:.1f} s"
                )
        raise HttpProblem(HTTPStatus.SERVICE_UNAVAILABLE, "the forecaster is being loaded")


def _steps(one: Any, levels: Sequence[float]) -> list[dict[str, Any]]:
    names = [f"{level:g}" for level in levels]
    return [
        {
            "timestamp": from_us(int(timestamp_us)).isoformat().replace("+00:00", "Z"),
            "mean": float(mean),
            "quantiles": dict(zip(names, map(float, values), strict=True)),
        }
        for timestamp_us, mean, values in zip(one.timestamps_us_H, one.mean_H, one.quantiles_QH.T, strict=True)
    ]


def _orders(found: Forecasts, positions: Sequence[Position]) -> list[Order]:
    return [
        replenish(position, one.mean_H, deviations_of(*one.quantiles_QH), found.period_days)
        for one, position in zip(found.series, positions, strict=True)
    ]


def _order(asked: AskedSeries, series_id: str, order: Order) -> dict[str, Any]:
    return {
        "item_id": asked.item_id, "location": asked.location, "series_id": series_id, "policy": order.policy,
        "order_quantity": order.order_quantity, "reorder_point": order.reorder_point, "order_up_to": order.order_up_to,
        "expected_stockout": order.expected_stockout, "service_level": order.service_level,
    }  # fmt: skip


def _interval(values: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip(("mean", "low", "high"), map(float, values), strict=True))


def _model(release: Loaded[None], found: Forecasts | SelectionList) -> dict[str, Any]:
    kept = {name: found.backtest[name] for name in ("wape", "naive_wape") if name in found.backtest}
    return {"name": release.manifest.model, "version": release.version, "backtest": kept}


def _refusal(answer: Unforecastable) -> HttpProblem:
    first, more = answer.problems[0], len(answer.problems) - 1
    detail = f"{first['field']}: {first['problem']}" + (f", and {more} more" if more else "")
    return HttpProblem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=answer.problems[:MOST_PROBLEMS])
