"""How well pictures find their like: the contract's metrics of anything that embeds, with and without re-ranking."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from training.contracts.progress import NoProgress, Progress
from training.jobs.pictures import Pictures, Shot
from training.jobs.retrieval_metrics import LIST_LENGTH, hit_metrics, relevant, retrieval_metrics
from training.metrics import Bools, Floats, Ints
from training.models.embedders import Embedder
from training.models.label_proxies import LabelProxies
from training.models.visual_search import VisualSearch

JUDGED_QUERIES, SOUGHT_AGAIN = 10_000, 2_000
SERVED = 5


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """Vectors of the shots that could be read, and which they are."""

    vectors_ND: Floats
    shots: Sequence[Shot]

    def codes(self, labels: Sequence[str]) -> Ints:
        """-1 for a label that is not among `labels`."""
        code = {label: number for number, label in enumerate(labels)}
        return np.array([code.get(shot.label, -1) for shot in self.shots], np.int64)


def embedded(embedder: Embedder, pictures: Pictures, progress: Progress = NoProgress()) -> Embedded:
    """An unreadable picture is left out and stands in `pictures.faults`."""
    vectors, shots = [np.zeros((0, embedder.dim), np.float32)], list[Shot]()
    for squares, places_B in pictures.batches(np.arange(len(pictures)), progress):
        vectors.append(embedder.embed(squares))
        shots += [pictures.shots[place] for place in places_B.tolist()]
    return Embedded(vectors_ND=np.concatenate(vectors), shots=shots)


def as_indexed(gallery: Embedded, proxies: LabelProxies | None) -> Embedded:
    """The gallery with the vectors that a search with these proxies finds it by."""
    if proxies is None:
        return gallery
    labels = [shot.label for shot in gallery.shots]
    return replace(gallery, vectors_ND=proxies.drawn(gallery.vectors_ND, labels))


def judged(queries: Embedded, gallery: Embedded, labels: Sequence[str]) -> dict[str, float]:
    """recall@1, recall@5 and map@10 by the vectors' inner products."""
    return retrieval_metrics(queries.vectors_ND, queries.codes(labels), gallery.vectors_ND, gallery.codes(labels))


def judged_on_test(queries: Embedded, gallery: Embedded, labels: Sequence[str]) -> dict[str, float]:
    """`judged`, but nothing where there is no test picture, or none that can be read."""
    return judged(queries, gallery, labels) if queries.shots else {}


def reranked(
    queries: Embedded,
    search: VisualSearch,
    gallery: Embedded,
    labels: Sequence[str],
    progress: Progress = NoProgress(),
) -> tuple[dict[str, float], str]:
    """The metrics of some queries in the re-ranked order, and what that gained and cost."""
    rows = np.random.default_rng(0).permutation(len(queries.shots))[:JUDGED_QUERIES]
    label_of = {shot.image_id: code for shot, code in zip(gallery.shots, gallery.codes(labels).tolist(), strict=True)}
    slot_labels = np.array([label_of[image_id] for image_id in search.index.ids], np.int64)
    labels_Q = queries.codes(labels)[rows]
    progress.stage("looking up", 2 * len(rows))
    before, plain_s = _looked_up(search.reordered(False), queries.vectors_ND[rows], labels_Q, slot_labels, progress)
    after, reranked_s = _looked_up(search.reordered(True), queries.vectors_ND[rows], labels_Q, slot_labels, progress)
    relevant_Q = relevant(labels_Q, gallery.codes(labels))
    one, other = hit_metrics(before, relevant_Q), hit_metrics(after, relevant_Q)
    said = (
        f"re-ranking on {len(rows)} test pictures: "
        + ", ".join(f"{name} {value:.4f} -> {other[name]:.4f}" for name, value in one.items())
        + f"; a search takes {1e3 * plain_s:.2f} -> {1e3 * reranked_s:.2f} ms"
    )
    if search.reranking.enabled and other["recall@1"] < one["recall@1"]:
        said += "; it loses here: --set reranking.enabled=false"
    return {f"reranked_{name}": value for name, value in other.items()}, said


def served_items(
    queries: Embedded, search: VisualSearch, progress: Progress = NoProgress()
) -> tuple[dict[str, float], list[str]]:
    """How often a picture's own item is first, and among the first five items, of the answer to the whole of it.

    Of pictures whose item the shop names and the index has; nothing where there are none.
    """
    asked = [
        place for place, shot in enumerate(queries.shots) if shot.of_item and search.gallery.slots_of(shot.item_id)
    ]
    rows = [asked[place] for place in np.random.default_rng(0).permutation(len(asked))[:JUDGED_QUERIES]]
    if not rows:
        return {}, []
    hits_QK = np.zeros((len(rows), SERVED), np.bool_)
    progress.stage("answers by item", len(rows))
    for number, row in enumerate(rows):
        (items,) = search.search(queries.vectors_ND[row : row + 1], SERVED)
        hits_QK[number, : len(items)] = [item_id == queries.shots[row].item_id for item_id, _ in items]
        progress.advance()
    said = f"answers by item: {len(rows)} of {len(queries.shots)} test pictures, all of an item that the index has"
    return {"item_recall@1": float(hits_QK[:, 0].mean()), "item_recall@5": float(hits_QK.any(axis=1).mean())}, [said]


def finding_themselves(search: VisualSearch, gallery: Embedded) -> str:
    """How many of some indexed pictures find themselves first, or one that looks the same to the bit."""
    rows_N = np.random.default_rng(0).permutation(len(gallery.shots))[:SOUGHT_AGAIN]
    row_of = {shot.image_id: row for row, shot in enumerate(gallery.shots)}
    first = 0
    for row, vector_D in zip(rows_N.tolist(), gallery.vectors_ND[rows_N], strict=True):
        (slot,), _ = search.images(vector_D, 1)
        found = row_of[search.index.ids[slot]]
        first += found == row or bool(np.array_equal(gallery.vectors_ND[found], vector_D))
    return f"of {len(rows_N):,} indexed pictures {first:,} find themselves first"


def _looked_up(
    search: VisualSearch, vectors_QD: Floats, labels_Q: Ints, slot_labels: Ints, progress: Progress
) -> tuple[Bools, float]:
    """hits_QK, and seconds of a query."""
    begun = time.process_time()
    hits_QK = np.zeros((len(vectors_QD), min(LIST_LENGTH, len(slot_labels))), np.bool_)
    for row, vector_D in enumerate(vectors_QD):
        slots_K, _ = search.images(vector_D, LIST_LENGTH)
        hits_QK[row, : len(slots_K)] = slot_labels[slots_K] == labels_Q[row]
        progress.advance()
    return hits_QK, (time.process_time() - begun) / max(len(vectors_QD), 1)
