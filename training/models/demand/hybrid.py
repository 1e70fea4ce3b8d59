"""The hybrid network as a member: residual on a base forecast, trained on past windows of all series at once."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.features.calendar import calendar_features
from training.features.demand import Floats, Window, gap_filled
from training.features.demand_features import OFFSET, Codes, demand_features, demand_level, mean_known, scaled, spread
from training.models.demand.base import Past, best_rule, past_at, rules_of
from training.models.demand.boosted import WEIGHT_POWER, only
from training.models.demand.member import Fitting, Member
from training.models.demand.network import LEAST_ENCODER, MEDIAN, HybridNetwork, NetworkConfig, quantile_loss

WEIGHTS_FILE, SETTINGS_FILE = "network.safetensors", "settings.json"
WINDOWS, WINDOWS_A_SERIES, ORIGINS, BATCH, LEARNING_RATE, FARTHEST = 8_000, 4, 12, 128, 2e-3, 4.0
CHUNK_SERIES = 1_000


@dataclass(frozen=True)
class Inputs:
    """past_BTE, ahead_BHF as the network reads them, names_BC, and what its answer is relative to."""

    past_BTE: Tensor
    ahead_BHF: Tensor
    names_BC: Tensor
    base_BH: Floats
    offset_B: Floats

    def take(self, rows: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        places = torch.from_numpy(rows)
        return self.past_BTE[places], self.ahead_BHF[places], self.names_BC[places]


@dataclass(frozen=True)
class Reading:
    """How a window becomes the network's inputs; fitted on training's windows."""

    codes: Codes
    country: str | None
    known: tuple[str, ...]
    names: tuple[str, ...]
    mean_F: Floats
    spread_F: Floats
    encoder: int

    def __call__(self, window: Window, base: Member) -> Inputs:
        window = only(window, list(self.known))
        level_S = demand_level(window)
        features = demand_features(window, np.arange(window.horizon), self.country, self.codes)
        place = {name: column for column, name in enumerate(features.names)}
        read_NF = features.values_NF[:, [place[name] for name in self.names]]
        ahead = np.clip((read_NF - self.mean_F) / self.spread_F, -FARTHEST, FARTHEST)
        codes = self.codes.of(window)
        named = [np.nan_to_num(codes[f"code:{name}"] + 1.0) for name in self.codes.of_column]
        base_SH = np.maximum(base.forecast(window), 0.0)
        return Inputs(
            past_BTE=_tensor(_past(window, level_S, self)),
            ahead_BHF=_tensor(np.nan_to_num(ahead).reshape(len(window), window.horizon, -1)),
            names_BC=torch.from_numpy(
                np.stack(named, 1).astype(np.int64) if named else np.zeros((len(window), 0), np.int64)
            ),
            base_BH=base_SH,
            offset_B=OFFSET * level_S,
        )


def _past(window: Window, level_S: Floats, reading: Reading) -> Floats:
    """past_BTE: log demand over its level, whether it is known, the calendar, covariates relative to usual."""
    window = window.last(reading.encoder)
    filled_ST = gap_filled(window.demand_ST)
    log_ST = np.log(np.maximum(np.nan_to_num(filled_ST), 0.0) / level_S[:, None] + OFFSET)
    known_ST = np.isfinite(filled_ST)
    periods_ST = window.origin_S[:, None] + np.arange(-reading.encoder + 1, 1)
    year_ST = calendar_features(periods_ST, window.frequency, reading.country)["place_in_year"] * 2 * math.pi
    columns = [np.where(known_ST, log_ST, 0.0), known_ST.astype(float), np.sin(year_ST), np.cos(year_ST)]
    for name in reading.known:
        past_ST, _ = scaled(window.past[name], window.future[name], logged=name in window.logged)
        columns.append(np.clip(np.nan_to_num(past_ST), -FARTHEST, FARTHEST))
    for name, values_ST in window.past.items():
        if name not in window.future:
            usual_S1 = mean_known(values_ST)[:, None]
            wide_S1 = np.maximum(spread(values_ST), 1e-6)[:, None]
            columns.append(np.clip(np.nan_to_num((values_ST - usual_S1) / wide_S1), -FARTHEST, FARTHEST))
    return np.stack(columns, -1)


class Hybrid:
    """The network's median is the forecast."""

    name = "hybrid_network"
    together = True

    def __init__(self, network: HybridNetwork, reading: Reading, base: Member, past: int) -> None:
        self.network, self.reading, self.base, self.past = network.eval(), reading, base, past
        self.uses = frozenset(reading.known)

    @classmethod
    def fit(cls, fitting: Fitting) -> Self:
        rng, torch_state = np.random.default_rng(fitting.seed), torch.random.get_rng_state()
        torch.manual_seed(fitting.seed)
        torch.set_num_threads(fitting.threads)
        try:
            drawn = list(_draw(fitting, rng))
            base, reading = best_rule(drawn), _reading(fitting, drawn)
            parts = [reading(past.window, past.rules[base]) for past in drawn]
            network = HybridNetwork(
                parts[0].past_BTE.shape[2], len(reading.names),
                tuple(len(codes) for codes in reading.codes.of_column.values()), NetworkConfig(encoder=reading.encoder),
            )  # fmt: skip
            _train(network, parts, [past.wanted_SK for past in drawn], fitting, rng)
        finally:
            torch.random.set_rng_state(torch_state)
        return cls(network, reading, rules_of(fitting.country)[base], parts[0].past_BTE.shape[2])

    def forecast(self, window: Window) -> Floats:
        parts = [
            self._forecast(window.take(np.arange(start, min(start + CHUNK_SERIES, len(window)))))
            for start in range(0, len(window), CHUNK_SERIES)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, window.horizon))

    def _forecast(self, window: Window) -> Floats:
        inputs = self.reading(window, self.base)
        with torch.no_grad():
            said_BHQ = self.network(inputs.past_BTE, inputs.ahead_BHF, inputs.names_BC).double().numpy()
        offset_B1 = inputs.offset_B[:, None]
        out_BH = (inputs.base_BH + offset_B1) * np.exp(said_BHQ[..., MEDIAN]) - offset_B1
        known_S = np.asarray(np.isfinite(window.demand_ST).any(1))
        return np.where(known_S[:, None], np.maximum(out_BH, 0.0), inputs.base_BH)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.network.state_dict(), folder / WEIGHTS_FILE)
        one = self.reading
        settings = {
            "codes": one.codes.of_column, "numeric": one.codes.numeric,
            "base": self.base.name, "country": one.country, "known": one.known,
            "names": one.names, "mean": one.mean_F.tolist(), "spread": one.spread_F.tolist(), "past": self.past,
            "network": self.network.config.model_dump(mode="json"),
        }  # fmt: skip
        (folder / SETTINGS_FILE).write_text(json.dumps(settings), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        said = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
        config = NetworkConfig.model_validate(said["network"])
        codes = Codes(said["codes"], said["numeric"])
        reading = Reading(
            codes, said["country"], tuple(said["known"]), tuple(said["names"]), np.array(said["mean"]),
            np.array(said["spread"]), config.encoder,
        )  # fmt: skip
        sizes = tuple(len(values) for values in codes.of_column.values())
        network = HybridNetwork(int(said["past"]), len(reading.names), sizes, config)
        network.load_state_dict(load_file(folder / WEIGHTS_FILE))
        return cls(network, reading, rules_of(said["country"])[said["base"]], int(said["past"]))


def _draw(fitting: Fitting, rng: np.random.Generator) -> Iterator[Past]:
    """Past windows of some series each, with their demand as far as it is known."""
    history = int(np.isfinite(fitting.panel.demand_SP).sum(1).max(initial=0))
    season, horizon = fitting.panel.frequency.season, fitting.horizon
    oldest = max(1, min(history - 4, max(history - season, history // 3)))
    backs = np.unique(np.linspace(max(1, min(horizon // 3, oldest)), oldest, ORIGINS).astype(int))
    wanted = min(WINDOWS, max(WINDOWS_A_SERIES * len(fitting.panel), WINDOWS // 10))
    share = min(1.0, wanted / max(len(fitting.panel) * len(backs), 1))
    for back in backs:
        rows = np.sort(rng.choice(len(fitting.panel), max(1, int(len(fitting.panel) * share)), replace=False))
        yield past_at(fitting, int(back), rows, np.arange(horizon))


def _reading(fitting: Fitting, drawn: list[Past]) -> Reading:
    known = [name for name in fitting.panel.schema.named("known_future") if name in fitting.panel.covariates]
    known = known if fitting.covariates else []
    codes = Codes.fit(fitting.window())
    steps = np.arange(fitting.horizon)
    features = [demand_features(only(past.window, known), steps, fitting.country, codes) for past in drawn[::3]]
    names = tuple(
        name for name in features[0].names if not name.startswith("code:") and name not in ("place_in_year", "known")
    )
    place = {name: column for column, name in enumerate(features[0].names)}
    values_NF = np.concatenate([one.values_NF for one in features])[:, [place[name] for name in names]].astype(float)
    known_NF = np.isfinite(values_NF)
    count_F = np.maximum(known_NF.sum(0), 1)
    mean_F = np.where(known_NF, values_NF, 0.0).sum(0) / count_F
    spread_F = np.sqrt((np.where(known_NF, values_NF - mean_F, 0.0) ** 2).sum(0) / count_F)
    encoder = min(NetworkConfig().encoder, max(fitting.memory, LEAST_ENCODER))
    return Reading(codes, fitting.country, tuple(known), names, mean_F, np.maximum(spread_F, 1e-3), encoder)


def _train(
    network: HybridNetwork, parts: list[Inputs], actual: list[Floats], fitting: Fitting, rng: np.random.Generator
) -> None:
    """AdamW under one cosine; every window once an epoch, in batches that share an origin, dealt to the partners."""
    targets, weights = zip(*(_target(part, values) for part, values in zip(parts, actual, strict=True)), strict=True)
    batches = [
        (place, rows) for place, part in enumerate(parts) for rows in _split(len(part.past_BTE), rng)
    ]  # fmt: skip
    partners, epochs, steps = fitting.partners, fitting.epochs, max(len(batches) // fitting.partners.size, 1)
    network.to(partners.device).train()
    if partners.rank:
        torch.manual_seed(fitting.seed + partners.rank)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=max(epochs * steps, 2))
    for _ in range(epochs):
        order = np.resize(rng.permutation(len(batches)), steps * partners.size)
        for chosen in order[partners.rank :: partners.size]:
            place, rows = batches[int(chosen)]
            read = (*parts[place].take(rows), targets[place][rows], weights[place][rows])
            past, ahead, names, target, weight = (values.to(partners.device) for values in read)
            loss = quantile_loss(network(past, ahead, names), target, weight)
            optimizer.zero_grad(set_to_none=False)
            loss.backward()
            partners.average_in_place([value.grad for value in network.parameters() if value.grad is not None])
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    network.to("cpu").eval()


def _split(count: int, rng: np.random.Generator) -> list[np.ndarray]:
    return np.array_split(rng.permutation(count), max(1, round(count / BATCH)))


def _target(part: Inputs, actual_BH: Floats) -> tuple[Tensor, Tensor]:
    """Log of demand over the base, and its weight; 0 where demand was not observed."""
    offset_B1 = part.offset_B[:, None]
    ratio_BH = (np.maximum(np.nan_to_num(actual_BH), 0.0) + offset_B1) / (part.base_BH + offset_B1)
    weight_BH = np.where(np.isfinite(actual_BH), (part.base_BH + offset_B1) ** WEIGHT_POWER, 0.0)
    return _tensor(np.log(ratio_BH)), _tensor(weight_BH / max(float(weight_BH.mean()), 1e-9))


def _tensor(values: Floats) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
