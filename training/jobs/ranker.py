"""The ranker job: DIN against the same network without attention and logistic regression, the best one bundled."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from training.bundles.manifest import Manifest
from training.bundles.store import MANIFEST
from training.contracts.atomic import new_folder
from training.contracts.errors import InputError, Problem
from training.contracts.progress import NoProgress, Progress
from training.contracts.shop import Shop
from training.features.ranking import BASE_FEATURES, RankingState
from training.jobs.job import FitResult, Job, Report
from training.jobs.ranker_calibration import calibrated, keeps_retrievals_order, platt, taken_of
from training.jobs.ranker_data import RankerData, load_ranker_data
from training.jobs.ranker_judging import judged, margins, two_stages
from training.jobs.ranker_training import Kind, RankerTraining, RankerTrainingConfig
from training.jobs.slates import HEADS
from training.models.deep_ranker import DeepRanker
from training.models.feature_ranker import FeatureRanker
from training.models.logistic_ranker import LogisticRanker, fit_logistic_ranker
from training.models.ranker import Ranker, load_ranker

DIN: Kind = "din"
WIDE_AND_DEEP: Kind = "wide_and_deep"
LOGISTIC = "logistic_regression"
STATE_FILE = "ranking_state.json"
KEPT_ORDER = "retrieval's order is kept: on held-out choices the network did not clearly improve it"
Floats = npt.NDArray[np.float64]


class RankerConfig(RankerTrainingConfig):
    """Settings of `train ranker`; the defaults suit any shop."""

    seed: int = 0
    upstream: dict[str, str] = Field(
        default_factory=dict, description="job -> bundle folder; the command fills in the shop's champion recommender"
    )
    newest_slates: int = Field(default=200_000, ge=1, description="of the served log that are learnt from")
    choices: int = Field(default=6_000, ge=1, description="past, held-out and test choices that are replayed, of each")
    negatives: int = Field(default=24, ge=1, description="sampled for each past choice")
    validation_share: float = Field(default=0.2, gt=0, lt=0.5, description="of the slates, before the test's")
    test_share: float = Field(default=0.3, gt=0, lt=0.5, description="of the slates, the last ones")


def load(shop: Shop, config: RankerConfig, state: RankingState | None = None) -> RankerData:
    """`state` is that of a trained ranker, where there is one.

    Raises InputError where the recommender's bundle is not named or the shop has too few outcomes.
    """
    return load_ranker_data(
        shop, recommender_folder(config), newest=config.newest_slates, choices=config.choices,
        negatives=config.negatives, validation_share=config.validation_share, test_share=config.test_share,
        seed=config.seed, state=state,
    )  # fmt: skip


def recommender_folder(config: RankerConfig) -> Path:
    folder = Path(config.upstream.get("recommender", ""))
    if not (folder / MANIFEST).is_file():
        raise InputError(
            Problem(field="upstream.recommender", problem="no recommender bundle there", found=str(folder),
                    allowed="the folder of a published recommender, which `shopkeeper train ranker` fills in")
        )  # fmt: skip
    return folder


def upstream_folder(folder: Path, job: str) -> Path:
    """The bundle of `job` that a bundle was trained on top of: beside it in the store, else where it was then."""
    manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    beside = folder.parents[1] / job / manifest.upstream.get(job, "none")
    return beside if (beside / MANIFEST).is_file() else Path(manifest.config["upstream"][job])


def fit(
    config: RankerConfig, data: RankerData, report: Report, out: Path, *, progress: Progress = NoProgress()
) -> FitResult:
    """Train all three, bundle the one with the best validation AUC, judge all of them on test."""
    wall, cpu = time.monotonic(), time.process_time()
    training = RankerTraining(config, data, report, seed=config.seed)
    kinds: tuple[Kind, ...] = (DIN, WIDE_AND_DEEP)
    rankers: dict[str, Ranker] = {}
    for kind in kinds:
        rankers[kind] = calibrated(training.train(kind, progress), kind, config.network, data)
    rankers[LOGISTIC] = _BlindToRetrieval(_logistic(data), data.heads[:1])
    validation = {name: judged(ranker, data.slates["validation"], data.heads) for name, ranker in rankers.items()}
    best = max(rankers, key=lambda name: validation[name]["auc"])
    served: Ranker = FeatureRanker(_held_out_logistic(data)) if best == LOGISTIC else rankers[best]
    upstream = Manifest.model_validate_json((recommender_folder(config) / MANIFEST).read_bytes())
    with new_folder(out, force=True) as folder:
        data.state.save(folder / STATE_FILE)
        assert isinstance(served, FeatureRanker | DeepRanker)
        served.save(folder)
    test = {name: judged(ranker, data.slates["test"], data.heads) for name, ranker in rankers.items()}
    said = ", ".join(f"{name} {metrics['auc']:.4f}" for name, metrics in validation.items())
    kept = isinstance(served, DeepRanker) and keeps_retrievals_order(served)
    return FitResult(
        folder=out,
        model=best,
        metrics={**test[best], **two_stages(served, data)},
        validation=validation[best],
        baselines={name: test[name] for name in rankers if name != best},
        train_seconds=time.monotonic() - wall,
        cpu_seconds=time.process_time() - cpu,
        examples_per_second=training.course.examples / max(training.course.seconds, 1e-9),
        notes=(
            *data.notes,
            f"{best} chosen by AUC on validation ({said})",
            *([KEPT_ORDER] if kept else []),
            *margins(rankers, data, DIN, (WIDE_AND_DEEP, LOGISTIC), config.seed),
        ),
        curve=tuple(training.course.curve),
        upstream={"recommender": upstream.version},
    )


class _BlindToRetrieval:
    """A logistic ranker under the networks' terms: what tells of a slate's outcome is kept from it."""

    def __init__(self, logistic: LogisticRanker, heads: tuple[str, ...]) -> None:
        self.logistic, self.heads = logistic, heads

    def predict(self, inputs: Any) -> list[Floats]:
        return [self.logistic.predict(_base(one.features_CF))[:, None] for one in inputs]

    def order(self, probabilities_CH: Floats) -> Floats:
        return probabilities_CH[:, 0]


def _base(features_NF: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Part of the features that the logistic regression reads, without retrieval's score."""
    base_NF = features_NF[:, : len(BASE_FEATURES)].copy()
    base_NF[:, 0] = 0.0
    return base_NF


def _logistic(data: RankerData) -> LogisticRanker:
    train = data.slates["train"]
    features_NF = _base(np.concatenate([one.features_CF for one in train.inputs]))
    column = HEADS.index(data.heads[0])
    fitted = fit_logistic_ranker(
        features_NF, train.labels_NH[:, column], train.slate_N, feature_names=BASE_FEATURES, trained_on="slates"
    )
    held = data.slates["validation"]
    probability_N = fitted.predict(_base(np.concatenate([one.features_CF for one in held.inputs])))
    logits_N = np.log(probability_N) - np.log1p(-probability_N)
    line = platt(logits_N, held.labels_NH[:, column])
    weights = tuple(line.slope * weight for weight in fitted.weights)
    return fitted.model_copy(update={"weights": weights, "bias": line.slope * fitted.bias + line.bias})


def _held_out_logistic(data: RankerData) -> LogisticRanker:
    """What serves where the networks fail: fitted on held-out choices, where retrieval's score tells nothing."""
    held = data.choices["validation"]
    features_NF = np.concatenate([one.features_CF for one in held.inputs])[:, : len(BASE_FEATURES)]
    return fit_logistic_ranker(
        features_NF, taken_of(held), held.slate_N, feature_names=BASE_FEATURES,
        trained_on="held-out choices",
    )  # fmt: skip


def evaluate_bundle(folder: Path, shop: Shop, *, progress: Progress = NoProgress()) -> dict[str, Any]:
    """`metrics` of the bundle on the test part of `shop`, and its `baselines` as they were at training."""
    manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    ranker, config = load_ranker(folder), RankerConfig.model_validate(manifest.config)
    config = config.model_copy(update={"upstream": {"recommender": str(upstream_folder(folder, "recommender"))}})
    progress.stage(f"reading {shop.path}")
    data = load(shop, config, RankingState.load(folder / STATE_FILE))
    metrics = {**judged(ranker, data.slates["test"], data.heads), **two_stages(ranker, data)}
    logistic = _BlindToRetrieval(_logistic(data), data.heads[:1])
    return {"metrics": metrics, "baselines": {LOGISTIC: judged(logistic, data.slates["test"], data.heads)}}


JOB = Job(
    name="ranker",
    config=RankerConfig,
    load=load,
    fit=fit,
    evaluate=evaluate_bundle,
    selection_metric="auc",
    needs=("recommender",),
)
