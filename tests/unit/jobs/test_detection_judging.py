"""Recall and average precision of boxes by hand, and the boxes that are fitted without looking."""

from __future__ import annotations

import numpy as np
import pytest

from training.features.images import Box
from training.jobs.detection_judging import box_priors, prior_metrics, scored
from training.jobs.vision_data import Scene
from training.models.detection import Detection, distinct, overlaps, voted

LEFT: Box = (0.0, 0.0, 0.4, 1.0)
RIGHT: Box = (0.6, 0.0, 1.0, 1.0)


def scene(*boxes: Box) -> Scene:
    return Scene(image_id="i", path="p", boxes=boxes, labels=("x",) * len(boxes))


def found(box: Box, score: float) -> Detection:
    return Detection(box=box, label=None, score=score)


def test_each_box_is_found_once() -> None:
    twice = [found(LEFT, 0.9), found(LEFT, 0.8), found(RIGHT, 0.7)]
    metrics = scored([scene(LEFT, RIGHT)], [twice])
    assert metrics["recall_iou50"] == 1.0
    assert metrics["ap50"] == pytest.approx((1 + 2 / 3) / 2)


def test_precision_goes_by_score_over_all_photos() -> None:
    metrics = scored([scene(LEFT), scene(LEFT)], [[found(RIGHT, 0.9)], [found(LEFT, 0.5)]])
    assert metrics == {"recall_iou50": 0.5, "ap50": 0.25}


def test_only_ten_boxes_count() -> None:
    many = [found(RIGHT, 1 - place / 100) for place in range(10)]
    assert scored([scene(LEFT)], [[*many, found(LEFT, 0.1)]])["recall_iou50"] == 0.0
    assert scored([scene()], [[]]) == {}


def test_priors_are_those_that_hit_most() -> None:
    boxes = [LEFT, (0.0, 0.0, 0.42, 1.0), (0.02, 0.0, 0.4, 1.0), RIGHT]
    priors = box_priors(boxes)
    assert len(priors) == 2
    assert overlaps(priors, np.array([LEFT, RIGHT], np.float32)).max(axis=0).min() > 0.5


def test_priors_in_any_order_find_as_much_with_less_precision() -> None:
    """Nine of ten photos show what is left: who knows that is right nine times before being wrong once."""
    scenes = [scene(RIGHT if number % 10 == 0 else LEFT) for number in range(200)]
    unordered, ordered = prior_metrics({"train": scenes, "validation": (), "test": scenes}).values()
    assert ordered["recall_iou50"] == unordered["recall_iou50"] == 1.0
    assert ordered["ap50"] > 0.85
    assert unordered["ap50"] == pytest.approx(0.5, abs=0.1)


def test_alike_boxes_give_way_to_the_better_one() -> None:
    boxes = np.array([LEFT, (0.0, 0.0, 0.41, 1.0), RIGHT], np.float32)
    assert distinct(boxes, np.array([0.5, 0.9, 0.1], np.float32), most=10, overlap=0.6).tolist() == [1, 2]
    assert distinct(boxes, np.array([0.5, 0.9, 0.1], np.float32), most=1, overlap=0.6).tolist() == [1]


def test_boxes_that_nearly_cover_each_other_vote() -> None:
    boxes = np.array([[0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 0.6, 0.5], [0.5, 0.5, 1.0, 1.0]], np.float32)
    shares = np.array([0.8, 0.8, 0.1], np.float32)
    found = voted(boxes, shares, np.array([0, 2]))
    np.testing.assert_allclose(found, [[0.0, 0.0, 0.55, 0.5], [0.5, 0.5, 1.0, 1.0]], atol=1e-6)
    np.testing.assert_allclose(voted(boxes, np.zeros(3, np.float32), np.array([1])), boxes[1:2], atol=1e-6)
