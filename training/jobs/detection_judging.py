"""recall_iou50 (ten boxes a photo) and ap50, whatever the labels; and the boxes that are fitted without looking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from training.contracts.progress import NoProgress, Progress
from training.contracts.shop import Shop
from training.features.images import ImageFault, Picture
from training.jobs.pictures import read_picture
from training.jobs.vision_data import Scene
from training.metrics import Floats
from training.models.detection import Detection, overlaps
from training.models.detector import Detector

BOX_PRIORS, LIKELIEST_FIRST = "box_priors", "box_priors_likeliest_first"
MOST = 10
HIT = 0.5
CANDIDATES, PHOTOS_SHOWN = 2000, 6


def scene_detections(
    detector: Detector, shop: Shop, scenes: Sequence[Scene], progress: Progress = NoProgress()
) -> list[list[Detection]]:
    """Of each scene; none where its photo cannot be read."""
    found: list[list[Detection]] = []
    for scene in scenes:
        picture = _photo(shop, scene)
        found += [[]] if picture is None else detector.detect([picture], MOST)
        progress.advance()
    return found


def detection_metrics(
    detector: Detector | None, shop: Shop, scenes: Sequence[Scene], progress: Progress
) -> dict[str, float]:
    if detector is None or not scenes:
        return {}
    progress.stage("detection on test", len(scenes))
    return scored(scenes, scene_detections(detector, shop, scenes, progress))


def prior_metrics(scenes: Mapping[str, Sequence[Scene]]) -> dict[str, dict[str, float]]:
    """Ten boxes fitted on the training part, the same for every photo of test: all as sure, and the likeliest first.

    Boxes that are as sure come in any order, drawn for each photo.
    """
    priors = box_priors([box for part in ("train", "validation") for scene in scenes[part] for box in scene.boxes])
    tested = scenes["test"]
    drawn_SK = np.random.default_rng(0).random((len(tested), len(priors)), np.float32)
    likeliest_first_K: Floats = (1 / np.arange(2, len(priors) + 2)).astype(np.float32)
    return {
        BOX_PRIORS: scored(tested, [_detections(priors, drawn_K) for drawn_K in drawn_SK]),
        LIKELIEST_FIRST: scored(tested, [_detections(priors, likeliest_first_K)] * len(tested)),
    }


def _detections(boxes_K4: Floats, scores_K: Floats) -> list[Detection]:
    """Best first."""
    return [
        Detection(box=(x0, y0, x1, y1), label=None, score=score)
        for (x0, y0, x1, y1), score in sorted(
            zip(boxes_K4.tolist(), scores_K.tolist(), strict=True), key=lambda pair: -pair[1]
        )
    ]


def box_priors(boxes: Sequence[tuple[float, ...]]) -> Floats:
    """Up to MOST of the boxes, each in turn the one that hits most of those not hit yet."""
    boxes_N4 = np.array(boxes, np.float32).reshape(len(boxes), 4)
    some = np.random.default_rng(0).permutation(len(boxes_N4))[:CANDIDATES]
    hits_CN = overlaps(boxes_N4[some], boxes_N4) >= HIT
    left_N, chosen = np.ones(len(boxes_N4), np.bool_), list[int]()
    while len(chosen) < MOST and left_N.any():
        best = int((hits_CN & left_N).sum(axis=1).argmax())
        chosen.append(int(some[best]))
        left_N &= ~hits_CN[best]
    return boxes_N4[chosen]


def scored(scenes: Sequence[Scene], found: Sequence[Sequence[Detection]]) -> dict[str, float]:
    """Each box is found at most once, by the best detection that hits it; nothing where there is no box."""
    scores, hits, total = list[float](), list[bool](), 0
    for scene, detections in zip(scenes, found, strict=True):
        total += len(scene.boxes)
        hits += _hits(scene, detections[:MOST])
        scores += [detection.score for detection in detections[:MOST]]
    if not total:
        return {}
    order = np.argsort(-np.array(scores), kind="stable")
    hit_N = np.array(hits, np.bool_)[order]
    return {"recall_iou50": float(hit_N.sum() / total), "ap50": _average_precision(hit_N, total)}


def _hits(scene: Scene, detections: Sequence[Detection]) -> list[bool]:
    """Whether each detection, best first, hits a box that none before it has hit."""
    if not detections or not scene.boxes:
        return [False] * len(detections)
    boxes_D4 = np.array([detection.box for detection in detections], np.float32)
    overlap_DG = overlaps(boxes_D4, np.array(scene.boxes, np.float32))
    hits = []
    for overlap_G in overlap_DG:
        best = int(overlap_G.argmax())
        hits.append(bool(overlap_G[best] >= HIT))
        if hits[-1]:
            overlap_DG[:, best] = -1.0
    return hits


def _average_precision(hit_N: np.ndarray, total: int) -> float:
    """The area under precision over recall, precision made to fall."""
    precision_N = hit_N.cumsum() / np.arange(1, len(hit_N) + 1)
    falling_N = np.maximum.accumulate(precision_N[::-1])[::-1]
    return float(falling_N[hit_N].sum() / total)


def some_detections(
    detector: Detector | None, shop: Shop, scenes: Sequence[Scene]
) -> list[tuple[Picture, list[Detection]]]:
    """The first photos with what is found in them, for the report."""
    if detector is None:
        return []
    photos = (_photo(shop, scene) for scene in scenes[:PHOTOS_SHOWN])
    return [(picture, detector.detect([picture], MOST)[0]) for picture in photos if picture is not None]


def _photo(shop: Shop, scene: Scene) -> Picture | None:
    try:
        return read_picture(shop.path / scene.path)
    except ImageFault:
        return None
