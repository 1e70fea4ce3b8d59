"""Photos with boxes around the articles in them: photos/ and boxes.json; every fifth image is test."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from training.contracts.errors import InputError, Problem, shorten
from training.contracts.progress import NoProgress, Progress
from training.contracts.shop import ShopWriter, new_shop
from training.datasets.adapter import DatasetAdapter, only_file
from training.datasets.picture_shop import copy_picture, id_problem, picture_info, write_images
from training.datasets.text_files import read_text

FILE = "boxes.json"
SHAPE = "{images: [{id, file, width, height, objects: [{label, box: [x0, y0, x1, y1] in pixels}]}]}"
TEST_EACH = 5


def read(folder: Path, out: Path, *, force: bool = False, progress: Progress = NoProgress()) -> dict[str, int]:
    """Import a folder of the format into a new shop at `out`; returns rows per table."""
    file = only_file(folder, folder.glob(FILE), wanted=f"{FILE} beside photos/")
    images = _images(file)
    progress.stage("copying photos", len(images))
    with new_shop(out, picture_info(folder.resolve().name, fallback="boxes"), force=force) as shop:
        write_images(shop, list(_rows(images, folder, file, shop, progress)))
        return shop.counts


def _images(file: Path) -> list[Mapping[str, Any]]:
    try:
        document: Any = json.loads(read_text(file))
    except json.JSONDecodeError as error:
        raise InputError(Problem(file=str(file), line=error.lineno, problem=f"not JSON: {error.msg}")) from error
    images = document.get("images") if isinstance(document, dict) else None
    if not isinstance(images, list) or not images:
        raise InputError(Problem(file=str(file), problem="wrong shape", found=shorten(document), allowed=SHAPE))
    return images


def _rows(
    images: list[Mapping[str, Any]], folder: Path, file: Path, shop: ShopWriter, progress: Progress
) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    for number, image in enumerate(images):
        try:
            row = _row(image)
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise InputError(
                Problem(file=str(file), row=number, field="images", problem=f"wrong shape: {error!r}",
                        found=shorten(image), allowed=SHAPE)
            ) from error  # fmt: skip
        problem = _problem(row, folder, seen)
        if problem:
            raise InputError(Problem(file=str(file), row=number, field="images", problem=problem, found=row["path"]))
        seen.add(row["image_id"])
        yield {**row, "path": copy_picture(folder / row["path"], shop, row["path"])}
        progress.advance()


def _row(image: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the images table, its path still that of the folder."""
    width, height = float(image["width"]), float(image["height"])
    test = int(image["id"]) % TEST_EACH == 0
    boxes = [_box(one["box"], str(one["label"]), width, height) for one in image["objects"]]
    split = "test" if test else "train"
    return {"image_id": str(image["id"]), "path": str(image["file"]), "boxes": boxes, "split": split}


def _box(corners: list[float], label: str, width: float, height: float) -> dict[str, Any]:
    """From pixels to shares of the photo, cut off at its edge."""
    x0, y0, x1, y1 = (
        min(max(float(value) / length, 0.0), 1.0)
        for value, length in zip(corners, (width, height, width, height), strict=True)
    )
    if not (x0 < x1 and y0 < y1):
        raise ValueError(f"an empty box of {label}: {corners}")
    return {"x0": x0, "y0": y0, "x1": x1, "y1": y1, "label": label}


def _problem(row: Mapping[str, Any], folder: Path, seen: set[str]) -> str | None:
    path = Path(row["path"])
    if path.is_absolute() or ".." in path.parts:
        return "the file leaves the folder"
    if row["image_id"] in seen:
        return f"image {row['image_id']} is there twice"
    if problem := id_problem(row["image_id"]):
        return problem
    source = folder / path
    if source.is_symlink():
        return "the photo is a link, which is not followed"
    return None if source.is_file() else "no such photo"


ADAPTER = DatasetAdapter(
    name="boxes",
    description="Photos with boxes around the articles in them; test = image id divisible by 5.",
    reads="photos/ and boxes.json",
    origin="e.g. Clothing Co-Parsing (Yang, Luo, Lin, CVPR 2014)",
    licence="that of the photos",
    reader=read,
)
