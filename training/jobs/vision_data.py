"""A shop's images as the vision job sees them: what to embed, of which label, in which split; and scenes with boxes."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.contracts.errors import InputError, Problem, nearest
from training.contracts.shop import Shop
from training.features.images import Box, ImageFault
from training.jobs.pictures import Shot, read_picture
from training.jobs.vision_config import MORE_VIEWS_BELOW, VisionConfig

IMAGE_COLUMNS = ("image_id", "item_id", "path", "label", "boxes", "split")
LARGEST_SIDE, SIDE_STEP, MEASURED = 96, 4, 32
HELD_OUT_EACH = 10
TRAIN = "train"
JUDGED = {"validation": "validation", "valid": "validation", "test": "test"}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """An image with the boxes of the articles in it."""

    image_id: str
    path: str
    boxes: tuple[Box, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class VisionData:
    """`gallery` and `test` are the contract's; `train` and `validation` are what is learnt from and selected on.

    `few`: labels have so few pictures that each is missed. `seen_again`: no new picture of a known label is left for
    validation, which other views of training's stand for.
    """

    shop: Shop
    side: int
    labels: tuple[str, ...]
    shots: Mapping[str, Sequence[Shot]]
    gallery: Sequence[Shot]
    scenes: Mapping[str, Sequence[Scene]]
    notes: tuple[str, ...]
    few: bool
    seen_again: bool = False

    @property
    def views(self) -> int:
        """Views of a picture in a step that its label's number of pictures asks for."""
        return 2 if self.few else 1


def load(shop: Shop, config: VisionConfig) -> VisionData:
    """Raises InputError for a shop without an image that has a label, an item or a box."""
    rows = shop.table("images", IMAGE_COLUMNS).to_pylist()
    _check_split(config.train_split, {row["split"] for row in rows if row["split"]})
    splits = [_part(row["split"], config.train_split or TRAIN) for row in rows]
    label_of = {
        row["item_id"]: row["label"]
        for row, part in zip(rows, splits, strict=True)
        if part == TRAIN and row["item_id"] and row["label"]
    }
    parts: dict[str, list[Shot]] = {"train": [], "validation": [], "test": []}
    scenes: dict[str, list[Scene]] = {"train": [], "validation": [], "test": []}
    for number, (row, part) in enumerate(zip(rows, splits, strict=True)):
        if part is not None:
            parts[part] += _shots(row, number, label_of)
            scenes[part] += _scenes(row)
    if not parts["train"]:
        raise InputError(
            Problem(table="images", problem="no training image with a label, an item or a box",
                    found=f"{len(rows)} images",
                    allowed="at least one in split train, in the one that train_split names, or without a split")
        )  # fmt: skip
    notes: list[str] = []
    few = len(parts["train"]) < MORE_VIEWS_BELOW * len({shot.label for shot in parts["train"]})
    shots = _with_validation(parts, config, few, notes)
    known = {shot.label for shot in shots["train"]}
    if seen_again := not any(shot.label in known for shot in shots["validation"]):
        each = -(-len(shots["train"]) // config.selection_pictures)
        shots["validation"] = shots["train"][::each]
        notes.append(
            "no label has a new picture for validation: other views of training's pictures stand for them, which says "
            "little of new ones; hold_out: true keeps some for it"
        )
    labels = tuple(sorted({shot.label for shot in parts["train"]}))
    if len(labels) == 1:
        notes.append(f"all pictures are of one label, {labels[0]}: whatever is asked finds its like")
    return VisionData(
        shop=shop,
        side=config.side or own_side(shop, shots["train"]),
        labels=labels,
        shots=shots,
        gallery=parts["train"],
        scenes=_scenes_with_validation(scenes),
        notes=tuple(notes),
        few=few,
        seen_again=seen_again,
    )


def _check_split(train_split: str | None, names: set[str]) -> None:
    if train_split is not None and train_split not in names:
        raise InputError(
            Problem(field="train_split", problem="no image has this split", found=train_split,
                    allowed=", ".join(sorted(names)) or "none: the images have no split",
                    nearest=nearest(train_split, names))
        )  # fmt: skip


def _part(split: str | None, trained_on: str) -> str | None:
    """Images without a split are trained on too; None for those of a split that plays no part."""
    if not split or split == trained_on:
        return TRAIN
    return JUDGED.get(split)


def _shots(row: Mapping[str, Any], number: int, label_of: Mapping[str, str]) -> list[Shot]:
    """The whole image where it has a label or an item, else one for each of its boxes.

    An item's picture without a label is of the label of the item's others.
    """
    label = row["label"] or label_of.get(row["item_id"], row["item_id"])
    if label:
        item = row["item_id"] or label
        of_item = bool(row["item_id"])
        return [
            Shot(image_id=row["image_id"], path=row["path"], label=label, item_id=item, row=number, of_item=of_item)
        ]
    return [
        Shot(
            image_id=f"{row['image_id']}#{place}", path=row["path"], label=box["label"], item_id=box["label"],
            row=number, box=_corners(box),
        )
        for place, box in enumerate(row["boxes"] or ())
        if box["label"]
    ]  # fmt: skip


def _scenes(row: Mapping[str, Any]) -> list[Scene]:
    """An image with a list of boxes, though it be empty: there is no article in it then."""
    if row["boxes"] is None or not (row["boxes"] or _is_unnamed(row)):
        return []
    boxes = tuple(_corners(box) for box in row["boxes"])
    labels = tuple(box["label"] or "" for box in row["boxes"])
    return [Scene(image_id=row["image_id"], path=row["path"], boxes=boxes, labels=labels)]


def _is_unnamed(row: Mapping[str, Any]) -> bool:
    return not (row["label"] or row["item_id"])


def _corners(box: Mapping[str, Any]) -> Box:
    return (box["x0"], box["y0"], box["x1"], box["y1"])


def _with_validation(
    parts: Mapping[str, list[Shot]], config: VisionConfig, few: bool, notes: list[str]
) -> dict[str, Sequence[Shot]]:
    """The shop's own validation images, else every HELD_OUT_EACHth of train by hash, never the last of a label.

    Rarer ones where that would be more than about `selection_pictures`; where labels have few, only of those that have
    many. What boxes hold goes with its photo, from which the detector must not learn either.
    """
    train, validation = parts["train"], parts["validation"]
    if not validation and config.hold_out is not False:
        each = max(HELD_OUT_EACH, len(train) // config.selection_pictures)
        left = Counter(shot.label for shot in train)
        kept: list[Shot] = []
        for shot in train:
            held = _is_held_out(shot, each) and left[shot.label] >= _least(shot, few and not config.hold_out)
            left[shot.label] -= held
            (validation if held else kept).append(shot)
        train = kept
        if validation:
            notes.append(f"{len(validation)} images of train are held out for the choice of the epoch, by a fixed hash")
    return {"train": train, "validation": validation, "test": parts["test"]}


def _is_held_out(shot: Shot, each: int) -> bool:
    if shot.box is None:
        return is_held_out(shot.image_id, each)
    return is_held_out(shot.image_id.rpartition("#")[0])


def _least(shot: Shot, spared: bool) -> float:
    """Pictures that a label must have left, one of which may then be held out."""
    return MORE_VIEWS_BELOW if spared and shot.box is None else 2


def _scenes_with_validation(scenes: Mapping[str, list[Scene]]) -> dict[str, Sequence[Scene]]:
    train, validation = scenes["train"], scenes["validation"]
    if not validation:
        validation = [scene for scene in train if is_held_out(scene.image_id)]
        train = [scene for scene in train if not is_held_out(scene.image_id)]
    return {"train": train, "validation": validation, "test": scenes["test"]}


def is_held_out(image_id: str, each: int = HELD_OUT_EACH) -> bool:
    return zlib.crc32(image_id.encode()) % each == 0


def own_side(shop: Shop, shots: Sequence[Shot]) -> int:
    """The median of the longer sides of some pictures, at most LARGEST_SIDE, in steps of SIDE_STEP."""
    chosen = [shots[place] for place in np.linspace(0, len(shots) - 1, min(MEASURED, len(shots))).astype(int)]
    sides = list(_sides(shop, chosen))
    median = float(np.median(sides)) if sides else LARGEST_SIDE
    return int(min(LARGEST_SIDE, max(SIDE_STEP * 4, SIDE_STEP * round(median / SIDE_STEP))))


def _sides(shop: Shop, shots: Iterable[Shot]) -> Iterable[int]:
    for shot in shots:
        try:
            picture = read_picture(shop.path / shot.path)
        except ImageFault:
            continue
        x0, y0, x1, y1 = shot.box or (0.0, 0.0, 1.0, 1.0)
        yield round(max(picture.shape[0] * (y1 - y0), picture.shape[1] * (x1 - x0)))
