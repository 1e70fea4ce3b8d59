"""The ranker job: DIN against the same network without attention and logistic regression, the best one bundled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from training.bundles.manifest import Manifest
from training.bundles.store import MANIFEST
from training.contracts.atomic import new_folder
from training.contracts.errors import InputError, Problem
from training.contracts.progress import NoProgress, Progress
from training.contracts.shop import Shop
from training.features.ranking import RankingState
from training.jobs.cost import Cost
from training.jobs.job import FitResult, Job, Report
from training.jobs.ranker_baselines import fit_baseline
from training.jobs.ranker_calibration import calibrate
from training.jobs.ranker_data import RankerData, load_ranker_data
from training.jobs.ranker_fitting import RankerTrainingConfig
from training.jobs.ranker_judging import judged, margins, two_stages
from training.jobs.ranker_training import DIN, KINDS, RankerTraining
from training.jobs.replays import Sampling
from training.jobs.upstream import upstream_folder, upstream_versions
from training.models.deep_ranker import DeepRanker, settings_of
from training.models.feature_ranker import FeatureRanker
from training.models.ranker import load_ranker
from training.models.ranker_network import Kind, RankerNetwork

LOGISTIC = "logistic_regression"
STATE_FILE = "ranking_state.json"


class RankerConfig(RankerTrainingConfig):
    """Settings of `train ranker`; the defaults suit any shop."""

    seed: int = 0
    upstream: dict[str, str] = Field(
        default_factory=dict, description="job -> bundle folder; the command fills in the shop's champion recommender"
    )
    newest_slates: int = Field(default=200_000, ge=1, description="of the served log that are learnt from")
    choices: int = Field(default=40_000, ge=1, description="past choices that are replayed and learnt from")
    held_out: int = Field(default=6_000, ge=1, description="later choices that are replayed, of each kind")
    negatives: int = Field(default=24, ge=1, description="sampled for each past choice")
    validation_share: float = Field(
        default=0.2, gt=0, lt=0.5, description="of the slates, before the test's; half of it where choices are replayed"
    )
    test_share: float = Field(
        default=0.3, gt=0, lt=0.5, description="of the slates, the last ones; half of it where choices are replayed"
    )


def load(shop: Shop, config: RankerConfig, state: RankingState | None = None) -> RankerData:
    """`state` is that of a trained ranker, where there is one.

    Raises InputError where the recommender's bundle is not named or the shop has too few outcomes.
    """
    return load_ranker_data(shop, recommender_folder(config), _sampling(config), state=state)


def _sampling(config: RankerConfig) -> Sampling:
    return Sampling(
        newest=config.newest_slates, choices=config.choices, held_out=config.held_out, negatives=config.negatives,
        validation_share=config.validation_share, test_share=config.test_share, seed=config.seed,
    )  # fmt: skip


def recommender_folder(config: RankerConfig) -> Path:
    folder = Path(config.upstream.get("recommender", ""))
    if not (folder / MANIFEST).is_file():
        raise InputError(
            Problem(field="upstream.recommender", problem="no recommender bundle there", found=str(folder),
                    allowed="the folder of a published recommender, which `shopkeeper train ranker` fills in")
        )  # fmt: skip
    return folder


def fit(
    config: RankerConfig, data: RankerData, report: Report, out: Path, *, progress: Progress = NoProgress()
) -> FitResult:
    """Train all, bundle the one with the best validation AUC, judge on test exactly what would be bundled.

    Rank 0 writes `out` and says how it went; the other ranks return an empty result.
    """
    cost = Cost()
    training = RankerTraining(config, data, report, seed=config.seed)
    cost.add_earlier(training.course.seconds, training.course.cpu_seconds)
    networks = {kind: training.train(kind, progress) for kind in KINDS}
    cost.add_others(training.workers)
    if training.workers.rank > 0:
        return _empty_result(out)
    rankers, orders = _calibrated(networks, data)
    validation = {name: judged(ranker, data.slates["validation"], data.heads) for name, ranker in rankers.items()}
    best = max(rankers, key=lambda name: validation[name]["auc"])
    _write(rankers[best], data, out)
    test = {name: judged(ranker, data.slates["test"], data.heads) for name, ranker in rankers.items()}
    said = ", ".join(f"{name} {metrics['auc']:.4f}" for name, metrics in validation.items())
    chosen = f"{best} chosen by AUC on validation ({said})"
    return FitResult(
        folder=out,
        model=best,
        metrics={**test[best], **two_stages(rankers[best], data.test_choices, data.test_asked)},
        validation=validation[best],
        baselines={name: test[name] for name in rankers if name != best},
        train_seconds=cost.seconds,
        cpu_seconds=cost.cpu_seconds,
        examples_per_second=training.course.examples / max(training.course.seconds, 1e-9),
        notes=(*data.notes, chosen, orders[best], *margins(rankers, DIN, data, config.seed)),
        curve=tuple(training.course.curve),
        upstream=upstream_versions(config.upstream),
    )


def _empty_result(out: Path) -> FitResult:
    return FitResult(
        folder=out, model=DIN, metrics={}, validation={}, baselines={}, train_seconds=0.0, cpu_seconds=0.0,
        examples_per_second=0.0,
    )  # fmt: skip


def _calibrated(
    networks: Mapping[Kind, RankerNetwork], data: RankerData
) -> tuple[dict[str, FeatureRanker | DeepRanker], dict[str, str]]:
    """Each ranker by name, the simplest network first, and what was decided of its order."""
    rankers: dict[str, FeatureRanker | DeepRanker] = {}
    orders: dict[str, str] = {}
    for kind, network in networks.items():
        calibration, orders[kind] = calibrate(
            network, data.heads, data.slates["validation"], data.choices["validation"]
        )
        rankers[kind] = DeepRanker(network, settings_of(network, calibration))
    rankers[LOGISTIC], orders[LOGISTIC] = fit_baseline(data)
    return rankers, orders


def _write(served: FeatureRanker | DeepRanker, data: RankerData, out: Path) -> None:
    with new_folder(out, force=True) as folder:
        data.state.save(folder / STATE_FILE)
        served.save(folder)


def evaluate_bundle(folder: Path, shop: Shop, *, progress: Progress = NoProgress()) -> dict[str, Any]:
    """`metrics` of the bundle on the test part of `shop`, and its `baselines` as they were at training."""
    manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    ranker, config = load_ranker(folder), RankerConfig.model_validate(manifest.config)
    progress.stage(f"reading {shop.path}")
    data = load_ranker_data(
        shop, upstream_folder(folder, "recommender"), _sampling(config), state=RankingState.load(folder / STATE_FILE),
        progress=progress,
    )  # fmt: skip
    metrics = {
        **judged(ranker, data.slates["test"], data.heads), **two_stages(ranker, data.test_choices, data.test_asked)
    }  # fmt: skip
    return {
        "metrics": metrics,
        "baselines": {LOGISTIC: judged(fit_baseline(data)[0], data.slates["test"], data.heads)},
    }


JOB = Job(
    name="ranker",
    config=RankerConfig,
    load=load,
    fit=fit,
    evaluate=evaluate_bundle,
    selection_metric="auc",
    needs=("recommender",),
)
