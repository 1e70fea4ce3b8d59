"""The ranker job: DIN against the same network without attention and logistic regression, the best one bundled."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.optimize import minimize
from scipy.special import expit

from training.bundles.manifest import Manifest
from training.bundles.store import MANIFEST
from training.contracts.atomic import new_folder
from training.contracts.errors import InputError, Problem
from training.contracts.progress import NoProgress, Progress
from training.contracts.shop import Shop
from training.features.ranking import BASE_FEATURES
from training.jobs.job import FitResult, Job, Report
from training.jobs.ranker_data import RankerData, load_ranker_data
from training.jobs.ranker_examples import Examples
from training.jobs.ranker_training import Kind, RankerTraining, RankerTrainingConfig
from training.jobs.slates import HEADS
from training.metrics import auc, calibration_error, group_auc, log_loss
from training.models.deep_ranker import CHOICE, READS, Calibration, DeepRanker, RankerSettings, network_logits
from training.models.feature_ranker import FeatureRanker
from training.models.logistic_ranker import LogisticRanker, fit_logistic_ranker
from training.models.ranker import Ranker, load_ranker
from training.models.ranker_network import OUTPUTS, RankerNetwork

DIN: Kind = "din"
WIDE_AND_DEEP: Kind = "wide_and_deep"
LOGISTIC = "logistic_regression"
STATE_FILE = "ranking_state.json"
TOP = 10
BOOTSTRAPS = 200
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


def load(shop: Shop, config: RankerConfig) -> RankerData:
    """Raises InputError where the recommender's bundle is not named or the shop has too few outcomes."""
    return load_ranker_data(
        shop, recommender_folder(config), newest=config.newest_slates, choices=config.choices,
        negatives=config.negatives, validation_share=config.validation_share, test_share=config.test_share,
        seed=config.seed,
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
        rankers[kind] = _calibrated(training.train(kind, progress), kind, config, data)
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
    return FitResult(
        folder=out,
        model=best,
        metrics={**test[best], **two_stages(served, data)},
        validation=validation[best],
        baselines={name: test[name] for name in rankers if name != best},
        train_seconds=time.monotonic() - wall,
        cpu_seconds=time.process_time() - cpu,
        examples_per_second=training.course.examples / max(training.course.seconds, 1e-9),
        notes=(*data.notes, f"{best} chosen by AUC on validation ({said})", *_intervals(rankers, data, config.seed)),
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
    slope, _, bias = _platt(logits_N, None, held.labels_NH[:, column])
    weights = tuple(slope * weight for weight in fitted.weights)
    return fitted.model_copy(update={"weights": weights, "bias": slope * fitted.bias + bias})


def _held_out_logistic(data: RankerData) -> LogisticRanker:
    """What serves where the networks fail: fitted on held-out choices, where retrieval's score tells nothing."""
    held = data.choices["validation"]
    features_NF = np.concatenate([one.features_CF for one in held.inputs])[:, : len(BASE_FEATURES)]
    return fit_logistic_ranker(
        features_NF, _taken(held), held.slate_N, feature_names=BASE_FEATURES,
        trained_on="held-out choices",
    )  # fmt: skip


def _calibrated(network: RankerNetwork, kind: Kind, config: RankerConfig, data: RankerData) -> DeepRanker:
    """Each head by Platt's method on validation slates; `choice` with retrieval's score on held-out choices."""
    held, chosen = data.slates["validation"], data.choices["validation"]
    logits_NH = network_logits(network, held.inputs)
    calibration = {}
    for head in data.heads:
        slope, _, bias = _platt(logits_NH[:, OUTPUTS.index(head)], None, held.labels_NH[:, HEADS.index(head)])
        calibration[head] = Calibration(slope=slope, bias=bias)
    choice_N = network_logits(network, chosen.inputs)[:, OUTPUTS.index(CHOICE)]
    scores_N = np.concatenate([one.features_CF[:, 0] for one in chosen.inputs]).astype(np.float64)
    taken_N = _taken(chosen)
    both = fit_logistic_ranker(
        np.column_stack([choice_N, scores_N]).astype(np.float32), taken_N, chosen.slate_N,
        feature_names=("network", "retrieval"), trained_on="held-out choices",
    )  # fmt: skip
    slope, retrieval = (weight / scale for weight, scale in zip(both.weights, both.scale, strict=True))
    shift = sum(weight * mean / scale for weight, mean, scale in zip(both.weights, both.mean, both.scale, strict=True))
    calibration[CHOICE] = Calibration(slope=slope, retrieval=retrieval, bias=both.bias - shift)
    settings = RankerSettings(
        kind=kind, network=config.network, sizes=data.state.sizes(),
        reads={name: tuple(columns) for name, columns in READS.items()}, calibration=calibration,
    )  # fmt: skip
    return DeepRanker(network, settings)


def _taken(choices: Examples) -> npt.NDArray[np.bool_]:
    taken_N: npt.NDArray[np.bool_] = choices.labels_NH.max(axis=1)
    return taken_N


def _platt(logits_N: Floats, scores_N: Floats | None, positive_N: npt.NDArray[np.bool_]) -> tuple[float, float, float]:
    """Slope (0 or more), weight of the scores and bias that make the logits probabilities, by maximum likelihood."""
    columns = [logits_N, np.zeros_like(logits_N) if scores_N is None else scores_N, np.ones_like(logits_N)]
    x_NX, sign_N = np.column_stack(columns), np.where(positive_N, 1.0, -1.0)

    def loss(weights_X: Floats) -> tuple[float, Floats]:
        margin_N = sign_N * (x_NX @ weights_X)
        pull_N = -sign_N * expit(-margin_N)
        return float(np.logaddexp(0.0, -margin_N).sum()), x_NX.T @ pull_N

    start = np.array([1.0, 0.0, 0.0])
    slope, weight, bias = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=[(1e-3, None)] + [(None,) * 2] * 2
    ).x
    return float(slope), float(weight), float(bias)


def judged(ranker: Ranker, examples: Examples, heads: tuple[str, ...]) -> dict[str, float]:
    """auc, logloss, gauc (per user, weighted by impressions) and ece of the main head, then of the others by name."""
    probabilities_NH = np.concatenate(ranker.predict(examples.inputs))
    users_N, labels_NH = examples.users_N, examples.labels_NH
    metrics: dict[str, float] = {}
    for head in (head for head in heads if head in ranker.heads):
        values_N, positive_N = probabilities_NH[:, ranker.heads.index(head)], labels_NH[:, HEADS.index(head)]
        prefix = "" if head == heads[0] else f"{head}_"
        metrics |= {
            f"{prefix}auc": auc(values_N, positive_N),
            f"{prefix}gauc": group_auc(values_N, positive_N, users_N),
            f"{prefix}logloss": log_loss(values_N, positive_N),
            f"{prefix}ece": calibration_error(values_N, positive_N),
        }
    return metrics


def two_stages(ranker: Ranker, data: RankerData) -> dict[str, float]:
    """NDCG@10 of users' last positives among retrieval's candidates: ranked, and in retrieval's order."""
    examples = data.test_choices
    orders = [ranker.order(probabilities_CH) for probabilities_CH in ranker.predict(examples.inputs)]
    plain = [one.features_CF[:, 0].astype(np.float64) for one in examples.inputs]
    return {
        "two_stage_ndcg@10": _ndcg(orders, examples) / max(data.test_asked, 1),
        "one_stage_ndcg@10": _ndcg(plain, examples) / max(data.test_asked, 1),
    }


def _ndcg(orders: list[Floats], examples: Examples) -> float:
    gain = 0.0
    for scores_C, slate in zip(orders, examples.slates, strict=True):
        rank = int((scores_C > scores_C[slate.labels_CH.any(axis=1)][0]).sum())
        gain += 1.0 / float(np.log2(rank + 2)) if rank < TOP else 0.0
    return gain


def _intervals(rankers: Mapping[str, Ranker], data: RankerData, seed: int) -> list[str]:
    """95 % intervals of DIN's margin on test over each baseline, by bootstrap over users."""
    test = data.slates["test"]
    values = {name: np.concatenate(ranker.predict(test.inputs))[:, 0] for name, ranker in rankers.items()}
    positive_N, users_N = test.labels_NH[:, HEADS.index(data.heads[0])], test.users_N
    order = np.argsort(users_N, kind="stable")
    rows_of = np.split(order, np.flatnonzero(np.diff(users_N[order])) + 1)
    draws = [np.random.default_rng((seed, n)).integers(len(rows_of), size=len(rows_of)) for n in range(BOOTSTRAPS)]
    samples = [np.concatenate([rows_of[user] for user in draw]) for draw in draws]
    # A user who is drawn twice is two groups.
    groups = [np.repeat(np.arange(len(draw)), [len(rows_of[user]) for user in draw]) for draw in draws]
    measures: dict[str, Callable[[Floats, npt.NDArray[np.bool_], npt.NDArray[np.int64]], float]] = {
        "AUC": lambda scores, positive, _: auc(scores, positive),
        "GAUC": group_auc,
    }
    said = []
    for other in (WIDE_AND_DEEP, LOGISTIC):
        for name, measure in measures.items():
            margins = [
                measure(values[DIN][rows], positive_N[rows], group)
                - measure(values[other][rows], positive_N[rows], group)
                for rows, group in zip(samples, groups, strict=True)
            ]
            low, high = np.quantile(margins, [0.025, 0.975])
            whole = measure(values[DIN], positive_N, users_N) - measure(values[other], positive_N, users_N)
            said.append(
                f"din above {other} on test by {whole:+.4f} {name} (95 % of users drawn: {low:+.4f} {high:+.4f})"
            )
    return said


def evaluate_bundle(folder: Path, shop: Shop, *, progress: Progress = NoProgress()) -> dict[str, Any]:
    """`metrics` of the bundle on the test part of `shop`, and its `baselines` as they were at training."""
    manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    ranker, config = load_ranker(folder), RankerConfig.model_validate(manifest.config)
    config = config.model_copy(update={"upstream": {"recommender": str(upstream_folder(folder, "recommender"))}})
    progress.stage(f"reading {shop.path}")
    data = load(shop, config)
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
