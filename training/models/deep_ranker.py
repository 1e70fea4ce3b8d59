"""DIN and its ablation without attention as rankers: calibrated heads, and retrieval's score fused into the order."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file, save_file
from scipy.special import expit
from torch import Tensor

from training.contracts.atomic import write_bytes
from training.contracts.errors import InputError, Problem
from training.features.ranking import CODE_NAMES, CONTEXT_NAMES, FEATURE_NAMES, RECENT_NAMES, RankingInputs
from training.features.ranking_state import RankingState
from training.features.short_term import RECENT_ITEMS
from training.models.ranker import RANKER_FILE, Probabilities
from training.models.ranker_network import OUTPUTS, Kind, NetworkConfig, RankerNetwork
from training.models.target_attention import Batch

WEIGHTS_FILE, STATE_FILE = "weights.safetensors", "ranking_state.json"
CHOICE = "choice"
ROWS_PER_PASS = 8_192
LAYOUT = 2
"""Of the network's weights; counted up whenever their names, shapes or meaning change. Bundles without it have 1."""
READS = {
    "features": FEATURE_NAMES,
    "codes": CODE_NAMES,
    "recent": RECENT_NAMES,
    "context": CONTEXT_NAMES,
}


class Calibration(BaseModel):
    """P = sigmoid(slope * logit + retrieval * its score + history * its length + bias) of one head (Platt 1999).

    The network reads neither; the length, log(1 + events), says how far a shop's probabilities have moved since.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    slope: float = 1.0
    retrieval: float = 0.0
    history: float = 0.0
    bias: float = 0.0


class RankerSettings(BaseModel):
    """ranker.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layout: int
    recent_items: int
    kind: Kind
    network: NetworkConfig
    sizes: dict[str, int]
    reads: dict[str, tuple[str, ...]]
    calibration: dict[str, Calibration]


def settings_of(network: RankerNetwork, calibration: dict[str, Calibration]) -> RankerSettings:
    """What a network needs beside its weights, as this version computes its inputs."""
    return RankerSettings(
        layout=LAYOUT, recent_items=RECENT_ITEMS, kind=network.pooling, network=network.config, sizes=network.sizes,
        reads={name: tuple(columns) for name, columns in READS.items()}, calibration=calibration,
    )  # fmt: skip


class DeepRanker:
    """The network with one calibration per head; `choice`, which orders, alone reads retrieval's score."""

    def __init__(self, network: RankerNetwork, settings: RankerSettings) -> None:
        self.network, self.settings = network.eval(), settings
        self.heads = tuple(settings.calibration)
        self._columns = [OUTPUTS.index(head) for head in self.heads]

    def predict(self, inputs: Sequence[RankingInputs]) -> list[Probabilities]:
        """probabilities_CH of each request, all in one pass."""
        counts = [len(one.features_CF) for one in inputs]
        if not sum(counts):
            return [np.zeros((count, len(self.heads))) for count in counts]
        logits_NH = network_logits(self.network, inputs)[:, self._columns]
        scores_N1 = np.concatenate([one.features_CF[:, :1] for one in inputs]).astype(np.float64)
        values = self.settings.calibration.values()
        slopes, retrieval, history, bias = (
            np.array([getattr(one, name) for one in values]) for name in ("slope", "retrieval", "history", "bias")
        )
        lengths_N1 = history_lengths(inputs)[:, None]
        probabilities_NH = expit(slopes * logits_NH + retrieval * scores_N1 + history * lengths_N1 + bias)
        return np.split(probabilities_NH, np.cumsum(counts)[:-1])

    def order(self, probabilities_CH: Probabilities) -> Probabilities:
        """P(chosen among retrieval's candidates)."""
        return probabilities_CH[:, self.heads.index(CHOICE)]

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.network.state_dict(), folder / WEIGHTS_FILE)
        write_bytes(folder / RANKER_FILE, self.settings.model_dump_json(indent=1).encode())

    @classmethod
    def load(cls, folder: Path) -> DeepRanker:
        """Raises InputError with the difference: another layout, other columns, or other vocabularies."""
        document = json.loads((folder / RANKER_FILE).read_bytes())
        _refuse_other_layout(document, folder)
        settings = RankerSettings.model_validate_json((folder / RANKER_FILE).read_bytes())
        _refuse_misfit(settings, folder)
        network = RankerNetwork(settings.sizes, settings.network, settings.kind)
        network.load_state_dict(load_file(folder / WEIGHTS_FILE))
        return cls(network, settings)


def history_lengths(inputs: Sequence[RankingInputs]) -> npt.NDArray[np.float64]:
    """log(1 + events) of each candidate's user."""
    lengths_L = np.array([one.context_U[CONTEXT_NAMES.index("history")] for one in inputs], np.float64)
    return np.repeat(lengths_L, [len(one.features_CF) for one in inputs])


def network_logits(network: RankerNetwork, inputs: Sequence[RankingInputs]) -> npt.NDArray[np.float64]:
    """Logits [N, len(OUTPUTS)] of all candidates of all requests, without a position."""
    return in_passes(network, inputs)


def in_passes(of: Callable[[Batch], Tensor], inputs: Sequence[RankingInputs]) -> npt.NDArray[np.float64]:
    """What `of` says of all candidates of all requests, some ROWS_PER_PASS at once."""
    counts = [len(one.features_CF) for one in inputs]
    ends = np.cumsum(counts)
    cuts = np.flatnonzero(np.diff(ends // ROWS_PER_PASS)) + 1
    parts = []
    with torch.inference_mode():
        for first, last in pairwise([0, *cuts.tolist(), len(inputs)]):
            parts.append(of(batch_of(inputs[first:last])))
    return torch.cat(parts).numpy().astype(np.float64)


def batch_of(inputs: Sequence[RankingInputs]) -> Batch:
    """The candidates of several requests, one after the other."""
    counts = torch.tensor([len(one.features_CF) for one in inputs])
    return Batch(
        features_NF=torch.from_numpy(np.concatenate([one.features_CF for one in inputs])),
        codes_NK=torch.from_numpy(np.concatenate([one.codes_CK for one in inputs])).long(),
        request_N=torch.repeat_interleave(torch.arange(len(inputs)), counts),
        recent_LRF=torch.from_numpy(np.stack([one.recent_RF for one in inputs])),
        recent_LRK=torch.from_numpy(np.stack([one.recent_RK for one in inputs])).long(),
        context_LU=torch.from_numpy(np.stack([one.context_U for one in inputs])),
    )


def _refuse_other_layout(document: Mapping[str, Any], folder: Path) -> None:
    expected, found = {"layout": LAYOUT, "recent_items": RECENT_ITEMS}, {"layout": 1, **document}
    problems = [
        Problem(file=str(folder / RANKER_FILE), field=name, problem="the bundle is of another version: train it again",
                found=str(found.get(name, "none")), allowed=str(value))
        for name, value in expected.items() if found.get(name) != value
    ]  # fmt: skip
    if problems:
        raise InputError(problems)


def _refuse_misfit(settings: RankerSettings, folder: Path) -> None:
    place, problems = str(folder / RANKER_FILE), []
    for name, expected in READS.items():
        found = settings.reads.get(name, ())
        if tuple(found) != tuple(expected):
            gone = [column for column in found if column not in expected]
            new = [column for column in expected if column not in found]
            said = f"missing here: {', '.join(gone) or 'none'}; added: {', '.join(new) or 'none'}"
            problems.append(Problem(file=place, field=f"reads.{name}", problem="fitted on other columns", found=said))
    sizes = RankingState.load(folder / STATE_FILE).sizes()
    for name, size in settings.sizes.items():
        if sizes.get(name) != size:
            problems.append(
                Problem(
                    file=place, field=f"sizes.{name}", problem="another vocabulary than ranking_state.json has",
                    found=str(size), allowed=str(sizes.get(name)),
                )
            )  # fmt: skip
    if problems:
        raise InputError(problems)
