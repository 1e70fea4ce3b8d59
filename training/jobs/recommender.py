"""The recommender job: a transformer over the users' events against its honest baselines, the better one bundled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ConfigDict, Field

from training.bundles.manifest import Manifest
from training.bundles.store import MANIFEST
from training.contracts.atomic import new_folder
from training.contracts.errors import InputError, Problem, nearest
from training.contracts.progress import NoProgress, Progress
from training.contracts.shop import Shop
from training.features.sequences import Histories, Moments, Split, interest_histories, leave_one_out
from training.features.vocabulary import Codes, Vocabulary
from training.indexes.config import IndexConfig
from training.jobs.baselines import fit_baselines, sample
from training.jobs.cost import Cost
from training.jobs.evaluation import Evaluation, Score, evaluate, selection_score
from training.jobs.item_images import image_vectors
from training.jobs.item_texts import text_vectors
from training.jobs.job import FitResult, Job, Report
from training.jobs.ranking_fit import fit_ranking
from training.jobs.training_config import TrainingConfig
from training.jobs.transformer_training import TransformerTraining
from training.jobs.upstream import upstream_versions
from training.jobs.workers import Workers
from training.metrics import Floats, Ints
from training.models.item_content import ItemContent
from training.models.item_reader import ItemReader
from training.models.model_files import check_model_folder
from training.models.popularity import training_counts
from training.models.recommender import Recommender
from training.models.retriever import Retriever
from training.models.sequence_transformer import TransformerConfig
from training.models.text_encoder import MINILM
from training.models.whitening import Whitening

TRANSFORMER, VISION = "sequence_transformer", "vision"
RANKER_FILE = "ranking.json"
RANKING_STATE_FILE = "ranking_state.json"
EVENT_COLUMNS = ("user_id", "type", "item_id", "timestamp", "split")
CONTENT_COLUMNS = ("item_id", "title", "description", "category", "brand", "price", "attributes", "tags")
"""What `training.features.content` reads of an item."""


class RecommenderConfig(TrainingConfig):
    """Settings of `train recommender`; the defaults suit any shop."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    seed: int = 0
    transformer: TransformerConfig = TransformerConfig()
    content: bool = Field(default=True, description="items are read by their features too, not by their id alone")
    least_items: int = Field(default=5, ge=1, description="items that must share a feature for it to be read")
    text_encoder: str | None = Field(
        default=None, description=f"reads the items' texts: {MINILM}, a folder, a name on Hugging Face's hub, or none"
    )
    text_dim: int = Field(default=64, ge=1, le=1024, description="directions of the texts' vectors that are read")
    id_dropout: float = Field(
        default=0.1, ge=0.0, lt=1.0, description="items read by their content alone in a step, where they have any"
    )
    images: bool = Field(default=True, description="items are read by their pictures too, where the shop has vision")
    image_dim: int = Field(default=64, ge=1, le=512, description="directions of the pictures' vectors that are read")
    upstream: dict[str, str] = Field(
        default_factory=dict, description="vision: the folder of the bundle that sees pictures; by default the champion"
    )
    train_split: str | None = Field(
        default=None, description="only events of this split; those without one always count"
    )
    selection_cases: int = Field(default=8192, ge=1, description="validation cases that judge epochs and models")
    index: IndexConfig = IndexConfig()


@dataclass(frozen=True, kw_only=True)
class RecommenderData:
    """A shop as the recommender sees it; `items` in the order of the vocabulary."""

    shop: Shop
    vocabulary: Vocabulary
    items: Sequence[Mapping[str, Any]]
    histories: Histories
    split: Split
    counts_I: Ints
    repeats: bool
    notes: tuple[str, ...]


def load(shop: Shop, config: RecommenderConfig) -> RecommenderData:
    """Raises InputError for a shop without a single event on an item, or without the split asked for."""
    events = _of_split(shop.table("events", EVENT_COLUMNS), config.train_split)
    rows = {row["item_id"]: row for row in shop.table("items", CONTENT_COLUMNS).to_pylist()}
    vocabulary = Vocabulary(rows or [item_id for item_id in pc.unique(events["item_id"]).to_pylist() if item_id])
    histories = interest_histories(events, vocabulary, shop.info.positive_types)
    if not len(histories.codes_N):
        raise InputError(Problem(table="events", problem="no event on an item: there is nothing to learn from"))
    split = leave_one_out(histories, timed=not shop.info.ordinal_time)
    return RecommenderData(
        shop=shop,
        vocabulary=vocabulary,
        items=[rows.get(item_id, {"item_id": item_id}) for item_id in vocabulary.ids],
        histories=histories,
        split=split,
        counts_I=training_counts(split.train, len(vocabulary)),
        repeats=shop.info.repeats,
        notes=tuple(_dropped(histories, split)),
    )


def _of_split(events: pa.Table, split: str | None) -> pa.Table:
    if split is None:
        return events
    names = [name for name in pc.unique(events["split"]).to_pylist() if name is not None]
    if split not in names:
        raise InputError(
            Problem(
                field="train_split", problem="no event has this split", found=split,
                allowed=", ".join(names) or "none: the events have no split", nearest=nearest(split, names),
            )
        )  # fmt: skip
    return events.filter(pc.or_kleene(pc.equal(events["split"], split), pc.is_null(events["split"])))


def _dropped(histories: Histories, split: Split) -> list[str]:
    notes = []
    if histories.unknown_items:
        notes.append(f"{histories.unknown_items} events dropped: their item is not in the items table")
    if split.train_only_users:
        notes.append(f"{split.train_only_users} users with fewer than 3 positive events are trained on, not evaluated")
    return notes


def fit(
    config: RecommenderConfig, data: RecommenderData, report: Report, out: Path, *, progress: Progress = NoProgress()
) -> FitResult:
    """Train, choose on validation, bundle the best of transformer and baselines, measure all of them on test.

    Rank 0 writes `out` and says how it went; the other ranks return an empty result.
    """
    cost, judge = Cost(), judge_of(config, data)
    training = transformer_training(config, data, progress)
    transformer = training.run(judge, report, progress)
    cost.add_earlier(training.earlier_s, training.earlier_cpu_s)
    cost.add_others(training.workers)
    if training.workers.rank > 0:
        return _empty_result(out)
    items = len(data.vocabulary)
    retrievers = fit_baselines(data.split, items, repeats=data.repeats, seed=config.seed, progress=progress)
    chosen, choice = _choose(retrievers, transformer if training.course.examples else None, judge)
    recommender = Recommender.build(data.vocabulary, chosen, data.counts_I, data.items, index=config.index)
    with new_folder(out, force=True) as folder:
        recommender.save(folder)
        ranking_metrics, ranking_notes = _bundle_ranking(data, recommender, folder, config.seed, progress)
    served, evaluations = _evaluate_all(data, recommender, retrievers, progress)
    validation = evaluate(recommender.score, data.split.validation, data.counts_I, repeats=data.repeats)
    return FitResult(
        folder=out,
        model=chosen.kind,
        metrics={**served.metrics, **ranking_metrics},
        validation=validation.metrics,
        baselines={name: evaluation.metrics for name, evaluation in evaluations.items()},
        train_seconds=cost.seconds,
        cpu_seconds=cost.cpu_seconds,
        examples_per_second=training.course.examples_per_second,
        upstream=upstream_versions(config.upstream),
        notes=(*data.notes, choice, *training.course.said(), *ranking_notes),
        curve=tuple(training.course.curve),
        bins={name: evaluation.bins for name, evaluation in {**evaluations, chosen.kind: served}.items()},
    )


def judge_of(config: RecommenderConfig, data: RecommenderData) -> Callable[[Retriever], float]:
    """ndcg@10 on the same validation cases for every epoch and model."""
    cases, items = sample(data.split.validation, config.selection_cases), len(data.vocabulary)
    return lambda retriever: selection_score(retriever.score, cases, items, repeats=data.repeats)


def _item_content(config: RecommenderConfig, data: RecommenderData, progress: Progress) -> ItemContent | None:
    """What the items are besides their ids, as far as the config asks for it."""
    encoder, pictures = config.text_encoder, _pictures(config, data, progress)
    if not config.content and encoder is None and not pictures:
        return None
    vectors_IE = None if encoder is None else text_vectors(data.items, encoder, progress=progress)
    whitening = None if vectors_IE is None else Whitening.fit(vectors_IE, config.text_dim)
    buckets_F = ItemReader.of_features(data.items, config.least_items) if config.content else None
    seen = Whitening.fit(np.stack(list(pictures.values())), config.image_dim) if pictures else None
    reader = ItemReader(
        buckets_F, encoder=encoder, whitening=whitening, image_whitening=seen, image_vectors=pictures
    )  # fmt: skip
    return ItemContent(
        config.transformer.dim,
        features_IF=reader.features(data.items),
        text_IT=None if vectors_IE is None or whitening is None else whitening(vectors_IE),
        image_IV=reader.images(data.items),
        id_dropout=config.id_dropout,
        reader=reader,
    )


def _pictures(config: RecommenderConfig, data: RecommenderData, progress: Progress) -> dict[str, Floats]:
    """By item the vector of what it looks like; none where the shop has no vision or no pictures of items."""
    if not config.images or VISION not in config.upstream:
        return {}
    return image_vectors(data.shop, data.vocabulary.ids, Path(config.upstream[VISION]), progress=progress)


def transformer_training(config: RecommenderConfig, data: RecommenderData, progress: Progress) -> TransformerTraining:
    timed = data.split.train.times_us_N is not None
    return TransformerTraining(
        config.transformer if timed else config.transformer.model_copy(update={"elapsed": 0}),
        config,
        data.split,
        len(data.vocabulary),
        seed=config.seed,
        workers=Workers(),
        repeats=data.repeats,
        content=_item_content(config, data, progress),
    )


def _empty_result(out: Path) -> FitResult:
    return FitResult(
        folder=out, model=TRANSFORMER, metrics={}, validation={}, baselines={},
        train_seconds=0.0, cpu_seconds=0.0, examples_per_second=0.0,
    )  # fmt: skip


def _choose(
    baselines: Mapping[str, Retriever], transformer: Retriever | None, judge: Callable[[Retriever], float]
) -> tuple[Retriever, str]:
    """The best on validation and why; the transformer wins a tie, then the simpler baseline."""
    contenders = [*([transformer] if transformer is not None else []), *baselines.values()]
    scores = {retriever.kind: judge(retriever) for retriever in contenders}
    chosen = max(contenders, key=lambda retriever: scores[retriever.kind])
    said = ", ".join(f"{kind} {score:.4f}" for kind, score in scores.items())
    return chosen, f"{chosen.kind} chosen by ndcg@10 on validation ({said})"


def _bundle_ranking(
    data: RecommenderData, recommender: Recommender, folder: Path, seed: int, progress: Progress
) -> tuple[dict[str, float], list[str]]:
    """Put the ranker into the bundle."""
    ranking = fit_ranking(data.shop, recommender, data.histories, data.split, seed=seed, progress=progress)
    ranking.ranker.save(folder / RANKER_FILE)
    ranking.state.save(folder / RANKING_STATE_FILE)
    return ranking.metrics, ranking.notes


def _evaluate_all(
    data: RecommenderData, recommender: Recommender, baselines: Mapping[str, Retriever], progress: Progress
) -> tuple[Evaluation, dict[str, Evaluation]]:
    """The bundled model as it serves (content regression included), and every baseline as it is."""
    progress.stage("evaluation on test", len(data.split.test) * (len(baselines) + 1))

    def on_test(score: Score) -> Evaluation:
        return evaluate(score, data.split.test, data.counts_I, repeats=data.repeats, progress=progress)

    return on_test(recommender.score), {name: on_test(retriever.score) for name, retriever in baselines.items()}


def evaluate_bundle(folder: Path, shop: Shop, *, progress: Progress = NoProgress()) -> dict[str, Any]:
    """`metrics` of the bundle on the held-out part of `shop`, and its `baselines` fitted on the rest of it."""
    recommender, config = Recommender.load(folder), _bundled_config(folder, shop)
    data = load(shop, config)
    recommender.upsert_many([item for item in data.items if recommender.slot(item["item_id"]) is None])
    slots_I = np.array([recommender.slot(item_id) for item_id in data.vocabulary.ids])

    def score(histories: Sequence[Codes], times_us: Moments) -> Floats:
        names = [data.vocabulary.decode(history) for history in histories]
        return recommender.score(*recommender.tokens(names, times_us))[:, slots_I]

    baselines = fit_baselines(
        data.split, len(data.vocabulary), repeats=data.repeats, seed=config.seed, progress=progress
    )
    progress.stage("evaluation on test", len(data.split.test) * (len(baselines) + 1))

    def on_test(score: Score) -> dict[str, float]:
        return evaluate(score, data.split.test, data.counts_I, repeats=data.repeats, progress=progress).metrics

    return {
        "metrics": on_test(score),
        "baselines": {name: on_test(retriever.score) for name, retriever in baselines.items()},
    }


def _bundled_config(folder: Path, shop: Shop) -> RecommenderConfig:
    """What a published bundle was trained with; another shop has splits of its own, so it is taken whole."""
    if not (folder / MANIFEST).is_file():
        return RecommenderConfig()
    manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    config = RecommenderConfig.model_validate(manifest.config)
    return config if manifest.shop_id == shop.info.shop_id else config.model_copy(update={"train_split": None})


def check(config: RecommenderConfig) -> None:
    """Raises InputError for a folder that holds no text encoder."""
    if config.text_encoder is not None:
        check_model_folder(config.text_encoder, "text_encoder")


JOB = Job(
    name="recommender",
    config=RecommenderConfig,
    load=load,
    fit=fit,
    evaluate=evaluate_bundle,
    selection_metric="ndcg@10",
    check=check,
    takes=(VISION,),
)
