"""Gradient-boosted trees over all series at once: lags, calendar, covariates known ahead (LightGBM, Ke et al. 2017)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import lightgbm
import numpy as np

from training.features.demand import Floats, Window
from training.features.demand_features import OFFSET, Codes, DemandFeatures, demand_features
from training.features.periods import FIXED_US
from training.models.demand.base import Past, best_rule, past_at, rules_of
from training.models.demand.member import Fitting, Member

MODEL_FILE, SETTINGS_FILE = "trees.txt", "settings.json"
ROWS, ORIGINS, LEAST_ROWS = 150_000, 24, 200
PARAMETERS = {
    "objective": "l1", "learning_rate": 0.05, "num_leaves": 31,  "feature_fraction": 0.6,
    "bagging_fraction": 0.7, "bagging_freq": 1, "lambda_l2": 10.0, "cat_smooth": 20.0, "verbose": -1,
    "deterministic": True, "force_row_wise": True, "max_bin": 127,
}  # fmt: skip
CHUNK_SERIES = 2_000
WEIGHT_POWER = 0.5
"""Of demand: 1 learns for pooled absolute error, 0 for the mean of relative ones."""
LEAF_SHARE = 600
"""A leaf holds at least this part of the examples."""
SEASONED_SHARE, LEAST_YEARS = 0.8, 2.5
LEAST_BAGGED = 2
"""Examples: LightGBM refuses a bag without any, which a part of one is."""
Examples = tuple[DemandFeatures, Floats, Floats, Floats]
"""Features, and of those examples that were observed: values_NF, target_N, weight_N."""


class Boosted:
    """Trees say the logarithm of demand over a base forecast; the base is the rule that erred least in training."""

    name = "lightgbm"

    def __init__(
        self, trees: lightgbm.Booster, codes: Codes, base: Member, country: str | None, known: list[str],
        unread: list[str],
    ) -> None:  # fmt: skip
        self.trees, self.codes, self.base, self.country, self.known = trees, codes, base, country, known
        self.unread = unread
        self.uses = frozenset(known)

    @classmethod
    def fit(cls, fitting: Fitting) -> Self:
        rng = np.random.default_rng(fitting.seed)
        known = list(fitting.panel.schema.named("known_future")) if fitting.covariates else []
        known = [name for name in known if name in fitting.panel.covariates]
        codes = Codes.fit(fitting.window())
        drawn = _draw(fitting, rng)
        base = best_rule(drawn)
        parts = [_examples(past, known, codes, base, fitting.country) for past in drawn]
        features = parts[0][0]
        parts = _like_the_future(parts, features.names, only(fitting.window(), known), codes, fitting.country)
        values_NF, target_N, weight_N = (np.concatenate([part[place] for part in parts]) for place in (1, 2, 3))
        if len(target_N) < LEAST_BAGGED:
            values_NF, target_N = np.zeros((LEAST_BAGGED, len(features.names))), np.zeros(LEAST_BAGGED)
            weight_N = np.ones(LEAST_BAGGED)
        unread = _unread(fitting, features.names)
        names = [name for name in features.names if name not in unread]
        values_NF = values_NF[:, [name not in unread for name in features.names]]
        plain = _plain(names)
        dataset = lightgbm.Dataset(
            values_NF, target_N, weight=weight_N / weight_N.mean(), feature_name=plain,
            categorical_feature=[told for name, told in zip(names, plain, strict=True) if name.startswith("code:")],
        )  # fmt: skip
        leaf = int(np.clip(len(target_N) // LEAF_SHARE, 10, 200))
        own = {"num_threads": fitting.threads, "seed": fitting.seed, "min_data_in_leaf": leaf}
        parameters = {**PARAMETERS, **own}
        rounds = fitting.rounds if len(target_N) >= LEAST_ROWS else 1
        trees = lightgbm.train(parameters, dataset, num_boost_round=rounds)
        return cls(trees, codes, rules_of(fitting.country)[base], fitting.country, known, unread)

    def forecast(self, window: Window) -> Floats:
        window = only(window, self.known)
        parts = [
            self._forecast(window.take(np.arange(start, min(start + CHUNK_SERIES, len(window)))))
            for start in range(0, len(window), CHUNK_SERIES)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, window.horizon))

    def _forecast(self, window: Window) -> Floats:
        features = demand_features(window, np.arange(window.horizon), self.country, self.codes)
        base_SH = self.base.forecast(window)
        read_F = [name not in self.unread for name in features.names]
        said_SH = np.asarray(self.trees.predict(features.values_NF[:, read_F], num_threads=1)).reshape(base_SH.shape)
        offset_SH = OFFSET * features.level_N.reshape(base_SH.shape)
        known_S = np.asarray(np.isfinite(window.demand_ST).any(1))
        out_SH = (np.maximum(base_SH, 0.0) + offset_SH) * np.exp(said_SH) - offset_SH
        return np.where(known_S[:, None], np.maximum(out_SH, 0.0), base_SH)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.trees.save_model(str(folder / MODEL_FILE))
        settings = {"codes": self.codes.of_column, "numeric": self.codes.numeric,
            "base": self.base.name, "country": self.country, "known": self.known,
                    "unread": self.unread}  # fmt: skip
        (folder / SETTINGS_FILE).write_text(json.dumps(settings), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        settings = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
        trees = lightgbm.Booster(model_file=str(folder / MODEL_FILE))
        base = rules_of(settings["country"])[settings["base"]]
        return cls(
            trees,
            Codes(settings["codes"], settings["numeric"]),
            base,
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
        logged=window.logged,
    )  # fmt: skip


def _draw(fitting: Fitting, rng: np.random.Generator) -> list[Past]:
    """Past windows with some steps each, as many rows as are wanted."""
    history = int(np.isfinite(fitting.panel.demand_SP).sum(1).max(initial=0))
    horizon = fitting.horizon
    oldest = max(min(history - 4, max(history // 2, history - 26) + 26), 1)
    backs = np.unique(np.linspace(1, oldest, min(ORIGINS, oldest)).astype(int))
    steps = min(horizon, 13)
    series = len(fitting.panel)
    share = min(1.0, ROWS / max(series * steps * len(backs), 1))
    drawn = []
    for back in backs:
        rows = np.sort(rng.choice(series, max(1, int(series * share)), replace=False))
        steps_K = np.sort(rng.choice(min(horizon, back), min(steps, horizon, back), replace=False))
        drawn.append(past_at(fitting, int(back), rows, steps_K))
    return drawn


def _examples(past: Past, known: list[str], codes: Codes, base: str, country: str | None) -> Examples:
    features = demand_features(only(past.window, known), past.steps_K, country, codes)
    base_N, wanted_N = past.base(base).ravel(), past.wanted_SK.ravel()
    offset_N = OFFSET * features.level_N
    kept_N = np.isfinite(wanted_N) & np.repeat(np.isfinite(past.window.demand_ST).any(1), len(past.steps_K))
    target_N = np.log((np.maximum(np.nan_to_num(wanted_N), 0.0) + offset_N) / (base_N + offset_N))
    weight_N = (base_N + offset_N) ** WEIGHT_POWER
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


def _plain(names: Sequence[str]) -> list[str]:
    """Names as LightGBM's text format takes them, each another."""
    plain = ["".join(letter if letter.isalnum() else "_" for letter in name) for name in names]
    return [name if name not in plain[:place] else f"{name}__{place}" for place, name in enumerate(plain)]
