"""The closed registry of ways to forecast demand, imported when first asked for."""

from __future__ import annotations

import importlib
from pathlib import Path

from training.contracts.errors import InputError, Problem, nearest
from training.models.demand.member import Member

MEMBERS = {
    "last_value": "training.models.demand.simple:LastValue",
    "seasonal_naive": "training.models.demand.simple:SeasonalNaive",
    "median_26": "training.models.demand.simple:Median26",
    "seasonal_mean": "training.models.demand.seasonal_mean:SeasonalMean",
    "auto_ets": "training.models.demand.smoothing:AutoEts",
    "theta": "training.models.demand.smoothing:Theta",
    "price_regression": "training.models.demand.price_regression:PriceRegression",
    "lightgbm": "training.models.demand.boosted:Boosted",
    "hybrid_network": "training.models.demand.hybrid:Hybrid",
}


def member_class(name: str) -> type[Member]:
    """Raises InputError with the nearest name."""
    if name not in MEMBERS:
        raise InputError(
            Problem(field="member", problem="no such way to forecast", found=name, allowed=", ".join(MEMBERS),
                    nearest=nearest(name, MEMBERS))
        )  # fmt: skip
    module, attribute = MEMBERS[name].split(":")
    found: type[Member] = getattr(importlib.import_module(module), attribute)
    return found


def load_member(name: str, folder: Path) -> Member:
    return member_class(name).load(folder)
