"""Gradient-boosted trees over all series at once: lags, calendar, covariates known ahead (LightGBM, Ke et al. 2017)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self

import lightgbm
import numpy as np

from training.features.demand import Floats, Ints, Window, fill
from training.features.demand_features import OFFSET, Codes, DemandFeatures, demand_features
from training.features.periods import FIXED_US
from training.models.demand.member import Fitting, Member
from training.models.demand.seasonal_mean import SeasonalMean
from training.models.demand.simple import LastValue, Median26

MODEL_FILE, SETTINGS_FILE = "trees.txt", "settings.json"
ROWS, ORIGINS, LEAST_ROWS = 150_000, 40, 200
PARAMETERS = {
    "objective": "l1", "learning_rate": 0.05, "num_leaves": 63, "min_data_in_leaf": 40, "feature_fraction": 0.6,
    "bagging_fraction": 0.7, "bagging_freq": 1, "lambda_l2": 1.0, "cat_smooth": 20.0, "verbose": -1,
    "deterministic": True, "force_row_wise": True, "max_bin": 127,
}  # fmt: skip
CHUNK_SERIES = 2_000
SEASONED_SHARE, LEAST_YEARS = 0.8, 2.5
Examples = tuple[DemandFeatures, Floats, Floats, Floats]
"""Features, and of those examples that were observed: values_NF, target_N, weight_N."""


class Boosted:
    """Trees say the logarithm of demand over a base forecast; the base is the rule that erred least in training."""

    name = "lightgbm"

    def __init__(
        self, trees: lightgbm.Booster, codes: Codes, base: str, country: str | None, known: list[str], unread: list[str]
    ) -> None:
        self.trees, self.codes, self.base, self.country, self.known = trees, codes, base, country, known
        self.unread = unread
        self.uses = frozenset(known)

    @classmethod
    def fit(cls, fitting: Fitting) -> Self:
        rng = np.random.default_rng(fitting.seed)
        known = list(fitting.panel.schema.named("known_future")) if fitting.covariates else []
        known = [name for name in known if name in fitting.panel.covariates]
        codes = Codes.fit(fitting.window())
        drawn = list(_draw(fitting, rng))
        base = best_base(drawn, fitting.country)
        parts = [
            _examples(only(window, known), steps_K, actual_SK, codes, base, fitting.country)
            for window, steps_K, actual_SK in drawn
        ]
        features = parts[0][0]
        parts = _like_the_future(parts, features.names, only(fitting.window(), known), codes, fitting.country)
        values_NF, target_N, weight_N = (np.concatenate([part[place] for part in parts]) for place in (1, 2, 3))
        if not len(target_N):
            values_NF, target_N, weight_N = np.zeros((1, len(features.names))), np.zeros(1), np.ones(1)
        unread = _unread(fitting, features.names)
        names = [name for name in features.names if name not in unread]
        values_NF = values_NF[:, [name not in unread for name in features.names]]
        dataset = lightgbm.Dataset(
            values_NF, target_N, weight=weight_N / weight_N.mean(), feature_name=_plain(names),
            categorical_feature=[_plain([n])[0] for n in names if n.startswith("code:")],
        )  # fmt: skip
        parameters = {**PARAMETERS, "num_threads": fitting.threads, "seed": fitting.seed}
        rounds = fitting.rounds if len(target_N) >= LEAST_ROWS else 1
        trees = lightgbm.train(parameters, dataset, num_boost_round=rounds)
        return cls(trees, codes, base, fitting.country, known, unread)

    def forecast(self, window: Window) -> Floats:
        window = only(window, self.known)
        parts = [
            self._forecast(window.take(np.arange(start, min(start + CHUNK_SERIES, len(window)))))
            for start in range(0, len(window), CHUNK_SERIES)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, window.horizon))

    def _forecast(self, window: Window) -> Floats:
        features = demand_features(window, np.arange(window.horizon), self.country, self.codes)
        base_SH = base_of(self.base, self.country).forecast(window)
        read_F = [name not in self.unread for name in features.names]
        said_SH = np.asarray(self.trees.predict(features.values_NF[:, read_F], num_threads=1)).reshape(base_SH.shape)
        offset_SH = OFFSET * features.level_N.reshape(base_SH.shape)
        known_S = np.asarray(np.isfinite(window.demand_ST).any(1))
        out_SH = (np.maximum(base_SH, 0.0) + offset_SH) * np.exp(said_SH) - offset_SH
        return np.where(known_S[:, None], np.maximum(out_SH, 0.0), base_SH)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.trees.save_model(str(folder / MODEL_FILE))
        settings = {"codes": self.codes.of_column, "base": self.base, "country": self.country, "known": self.known,
                    "unread": self.unread}  # fmt: skip
        (folder / SETTINGS_FILE).write_text(json.dumps(settings), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        settings = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
        trees = lightgbm.Booster(model_file=str(folder / MODEL_FILE))
        return cls(
            trees,
            Codes(settings["codes"]),
            settings["base"],
            settings["country"],
            settings["known"],
            settings["unread"],
        )


class BoostedWithoutCovariates(Boosted):
    """The same model without what is known ahead: shows what that is worth."""

    name = "lightgbm_without_covariates"


def only(window: Window, known: list[str]) -> Window:
    """The window with these known-future covariates alone; the others' history is not shown either."""
    hidden = set(window.future) - set(known)
    if not hidden:
        return window
    return Window(
        series=window.series, frequency=window.frequency, origin_S=window.origin_S, demand_ST=window.demand_ST,
        past={name: values for name, values in window.past.items() if name not in hidden},
        future={name: values for name, values in window.future.items() if name not in hidden}, horizon=window.horizon,
    )  # fmt: skip


def base_of(name: str, country: str | None) -> Member:
    """The rules that trees may start from."""
    rules: dict[str, Member] = {
        "last_value": LastValue(), "median_26": Median26(), "seasonal_mean": SeasonalMean({}, country),
    }  # fmt: skip
    return rules[name]


def _draw(fitting: Fitting, rng: np.random.Generator) -> list[tuple[Window, Ints, Floats]]:
    """Past windows with some steps each and their actual demand, as many rows as are wanted."""
    history = int(np.isfinite(fitting.panel.demand_SP).sum(1).max(initial=0))
    horizon = fitting.horizon
    oldest = max(min(history - 4, max(history // 2, history - 26) + 26), 1)
    count = min(ORIGINS, oldest)
    backs = np.unique(np.linspace(1, oldest, count).astype(int))
    steps = min(horizon, 13)
    series = len(fitting.panel)
    share = min(1.0, ROWS / max(series * steps * len(backs), 1))
    drawn = []
    for back in backs:
        rows = np.sort(rng.choice(series, max(1, int(series * share)), replace=False))
        steps_K = np.sort(rng.choice(min(horizon, back), min(steps, horizon, back), replace=False))
        reach = int(steps_K.max()) + 1
        window = fill(fitting.window(int(back), rows, reach), fitting.panel.schema.without_required())
        panel = fitting.panel.take(rows)
        actual_SK = panel.wanted(fitting.cut_S[rows] - back, reach)[:, steps_K]
        drawn.append((window, steps_K, actual_SK))
    return drawn


def best_base(drawn: list[tuple[Window, Ints, Floats]], country: str | None) -> str:
    def error(name: str) -> float:
        rule = base_of(name, country)
        errors = [np.abs(actual_SK - rule.forecast(window)[:, steps_K]) for window, steps_K, actual_SK in drawn]
        return float(sum(np.nansum(one) for one in errors))

    return min(("last_value", "median_26", "seasonal_mean"), key=error)


def _examples(
    window: Window, steps_K: Ints, actual_SK: Floats, codes: Codes, base: str, country: str | None
) -> Examples:
    features = demand_features(window, steps_K, country, codes)
    base_N = np.maximum(base_of(base, country).forecast(window)[:, steps_K].ravel(), 0.0)
    offset_N = OFFSET * features.level_N
    kept_N = np.isfinite(actual_SK.ravel()) & np.repeat(np.isfinite(window.demand_ST).any(1), len(steps_K))
    target_N = np.log((np.maximum(np.nan_to_num(actual_SK.ravel()), 0.0) + offset_N) / (base_N + offset_N))
    weight_N = (base_N + offset_N) ** 0.75
    return features, features.values_NF[kept_N], target_N[kept_N], weight_N[kept_N]


def _unread(fitting: Fitting, names: tuple[str, ...]) -> list[str]:
    """What a short history would be told apart by, rather than its seasons: the place in the year."""
    known_P = np.flatnonzero(np.isfinite(fitting.panel.demand_SP).any(0))
    frequency = fitting.panel.frequency
    ends_us = frequency.timestamp_us(fitting.panel.first + known_P[[0, -1]]) if len(known_P) else np.zeros(2)
    years = (ends_us[1] - ends_us[0]) / (365.25 * FIXED_US["day"])
    return [name for name in names if name == "place_in_year" and years < LEAST_YEARS]


def _like_the_future(
    parts: list[Examples], names: tuple[str, ...], window: Window, codes: Codes, country: str | None
) -> list[Examples]:
    """Where nearly all that is to be forecast has a season behind it, only examples that have one are learnt from."""
    column = names.index("season1")
    ahead = demand_features(window, np.arange(window.horizon), country, codes).values_NF[:, column]
    seasoned = [np.isfinite(values_NF[:, column]) for _, values_NF, _, _ in parts]
    enough = sum(int(kept.sum()) for kept in seasoned) >= LEAST_ROWS * 10
    if not enough or np.isfinite(ahead).mean() < SEASONED_SHARE:
        return parts
    return [
        (features, values_NF[kept], target_N[kept], weight_N[kept])
        for (features, values_NF, target_N, weight_N), kept in zip(parts, seasoned, strict=True)
    ]


def _plain(names: tuple[str, ...] | list[str]) -> list[str]:
    """Names as LightGBM's text format takes them."""
    return ["".join(letter if letter.isalnum() else "_" for letter in name) for name in names]
