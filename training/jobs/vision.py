"""The vision job: an embedding of pictures against a colour histogram and raw pixels, with a detector of articles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from training.bundles.manifest import Manifest
from training.bundles.store import MANIFEST
from training.contracts.atomic import new_folder
from training.contracts.progress import NoProgress, Progress
from training.contracts.shop import Shop
from training.jobs.detection_judging import detection_metrics, prior_metrics, some_detections
from training.jobs.detector_stage import DetectorStage
from training.jobs.embedding_stage import EmbeddingStage
from training.jobs.gallery_embedding import Mapped
from training.jobs.job import FitResult, Job, Report
from training.jobs.pictures import Pictures
from training.jobs.vision_bundle import Candidates, shop_pictures
from training.jobs.vision_config import VisionConfig
from training.jobs.vision_course import VisionCourse
from training.jobs.vision_data import VisionData, load
from training.jobs.vision_exhibits import detections_shown
from training.jobs.vision_judging import as_indexed, embedded, judged_on_test
from training.jobs.vision_stage import StageTraining
from training.jobs.workers import Workers
from training.models.backbone import BackboneConfig
from training.models.detector import Detector
from training.models.efficient_net import with_own_architecture
from training.models.embedders import Embedder
from training.models.embedding_network import NetworkEmbedder
from training.models.image_baselines import ColourHistogram, RawPixels
from training.models.model_files import check_model_folder
from training.models.visual_search import VisualSearch

PROBLEMS_SAID = 3


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What the stages left, and what they cost, of all workers and before an interruption too."""

    stage: EmbeddingStage
    detector: Detector | None
    courses: Sequence[VisionCourse]

    @property
    def seconds(self) -> float:
        return sum(course.seconds for course in self.courses)

    @property
    def cpu_seconds(self) -> float:
        return sum(course.cpu_seconds for course in self.courses)

    @property
    def examples_per_second(self) -> float:
        return self.courses[0].examples / max(self.courses[0].seconds, 1e-9)


def fit(
    config: VisionConfig, data: VisionData, report: Report, out: Path, *, progress: Progress = NoProgress()
) -> FitResult:
    """Train embedding and detector, choose on validation, bundle the better of embedding and baselines, judge on test.

    Rank 0 writes `out` and says how it went; the other ranks return an empty result.
    """
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    described, workers = with_own_architecture(config.backbone), Workers()
    pictures = shop_pictures(data, cache_bytes=config.cache_mb << 20)
    trained = _train(config, data, pictures, described, workers, report, progress)
    if workers.rank > 0:
        return _empty_result(out)
    network = NetworkEmbedder(trained.stage.network.to("cpu"), config.serve_dim or config.dim)
    mapped: Mapped | None = getattr(report, "mapped", None)
    proxies = trained.stage.proxies(network.dim) if data.few and config.head != "softmax" else None
    candidates = Candidates(config, data, pictures, network, progress, mapped, proxies=proxies)
    search = candidates.bundled(described, trained.detector, progress)
    with new_folder(out, force=True) as folder:
        search.save(folder)
    return _result(data, pictures, trained, candidates, search, out, progress)


def _train(
    config: VisionConfig,
    data: VisionData,
    pictures: Mapping[str, Pictures],
    described: BackboneConfig,
    workers: Workers,
    report: Report,
    progress: Progress,
) -> Trained:
    stage = EmbeddingStage(
        config, pictures["train"], pictures["validation"], data.labels, views=config.views or data.views,
        workers=workers,
    )  # fmt: skip
    trainings = [StageTraining(stage, config, workers)]
    trainings[0].run(report, progress)
    detection = None
    if config.detector.enabled and data.scenes["train"]:
        detection = DetectorStage(config, data, stage.network.backbone, described, workers)
        trainings.append(StageTraining(detection, config, workers, earlier=trainings[:1]))
        trainings[1].run(report, progress)
    return Trained(
        stage=stage,
        detector=detection.detector() if detection is not None else None,
        courses=[training.course for training in trainings],
    )


def _result(
    data: VisionData,
    pictures: Mapping[str, Pictures],
    trained: Trained,
    candidates: Candidates,
    search: VisualSearch,
    out: Path,
    progress: Progress,
) -> FitResult:
    metrics, said = candidates.measured(search, progress)
    scenes = data.scenes["test"] if search.detector is not None else ()
    problems = [line for part in ("gallery", "test") for line in pictures[part].problems()]
    priors = prior_metrics(data.scenes) if scenes else {}
    kind = search.embedder.kind
    return FitResult(
        folder=out,
        model=kind,
        metrics={**metrics, **detection_metrics(search.detector, data.shop, scenes, progress)},
        validation=candidates.validation[kind],
        baselines={**candidates.baselines(), **priors},
        train_seconds=trained.seconds,
        cpu_seconds=trained.cpu_seconds,
        examples_per_second=trained.examples_per_second,
        notes=(
            *data.notes, candidates.choice, *candidates.surpassed(),
            *(line for course in trained.courses for line in course.said()),
            *said, *candidates.classified(trained.stage), *_problems_said(problems),
        ),
        curve=tuple(line for course in trained.courses for line in course.curve),
        problems=tuple(problems),
        exhibits=(
            *candidates.exhibits(), *detections_shown(some_detections(search.detector, data.shop, scenes)),
        ),
    )  # fmt: skip


def _empty_result(out: Path) -> FitResult:
    return FitResult(
        folder=out, model=NetworkEmbedder.kind, metrics={}, validation={}, baselines={},
        train_seconds=0.0, cpu_seconds=0.0, examples_per_second=0.0,
    )  # fmt: skip


def _problems_said(problems: Sequence[str]) -> list[str]:
    if not problems:
        return []
    more = f" and {len(problems) - PROBLEMS_SAID} more" if len(problems) > PROBLEMS_SAID else ""
    return [f"{len(problems)} images could not be read: {'; '.join(problems[:PROBLEMS_SAID])}{more}"]


def evaluate_bundle(folder: Path, shop: Shop, *, progress: Progress = NoProgress()) -> dict[str, Any]:
    """`metrics` of the bundle on the test images of `shop` among its training images, and of the `baselines` there."""
    search, config = VisualSearch.load(folder), _bundled_config(folder, shop)
    data = load(shop, config.model_copy(update={"side": search.side}))
    pictures = shop_pictures(data, cache_bytes=config.cache_mb << 20)
    embedders: tuple[Embedder, ...] = (search.embedder, RawPixels(data.side), ColourHistogram())
    progress.stage("embedding", len(embedders) * (len(data.gallery) + len(data.shots["test"])))
    found = []
    for one in embedders:
        tested, gallery = (embedded(one, pictures[part], progress) for part in ("test", "gallery"))
        proxies = search.proxies if one is search.embedder else None
        found.append(judged_on_test(tested, as_indexed(gallery, proxies), data.labels))
    scenes = data.scenes["test"] if search.detector is not None else ()
    priors = prior_metrics(data.scenes) if scenes else {}
    return {
        "metrics": {**found[0], **detection_metrics(search.detector, shop, scenes, progress)},
        "baselines": {RawPixels.kind: found[1], ColourHistogram.kind: found[2], **priors},
    }


def _bundled_config(folder: Path, shop: Shop) -> VisionConfig:
    """What a published bundle was trained with; another shop has splits of its own."""
    if not (folder / MANIFEST).is_file():
        return VisionConfig()
    manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    config = VisionConfig.model_validate(manifest.config)
    return config if manifest.shop_id == shop.info.shop_id else config.model_copy(update={"train_split": None})


def check(config: VisionConfig) -> None:
    """Raises InputError for folders of weights that hold none."""
    named = {"backbone.weights": config.backbone.weights, "text_encoder": config.text_encoder}
    for field, source in named.items():
        if source is not None:
            check_model_folder(source, field)


JOB = Job(
    name="vision", config=VisionConfig, load=load, fit=fit, evaluate=evaluate_bundle, selection_metric="recall@1",
    check=check,
)  # fmt: skip
