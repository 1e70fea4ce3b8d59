"""Folders of pictures: train/, validation/ and test/, in each one folder per class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training.contracts.errors import InputError, Problem, nearest
from training.contracts.progress import NoProgress, Progress
from training.contracts.shop import ShopWriter, new_shop
from training.datasets.adapter import DatasetAdapter, only_file
from training.datasets.picture_shop import SUFFIXES, copy_picture, picture_info, pictures_in, write_images

SPLITS = ("train", "validation", "test")
AKA = {"valid": "validation", "val": "validation"}


def read(folder: Path, out: Path, *, force: bool = False, progress: Progress = NoProgress()) -> dict[str, int]:
    """Import a folder of the format into a new shop at `out`; returns rows per table."""
    found = _found(folder)
    progress.stage("copying pictures", len(found))
    with new_shop(out, picture_info(folder.resolve().name, fallback="image-folders"), force=force) as shop:
        write_images(shop, list(_copied(found, shop, progress)))
        return shop.counts


def _found(folder: Path) -> list[tuple[str, str, Path]]:
    """Split, class and file of every picture; raises InputError where train/ has none or lacks a class."""
    only_file(folder, [folder / "train"] if (folder / "train").is_dir() else [], wanted="folder train/")
    splits = [
        entry for entry in sorted(folder.iterdir()) if AKA.get(entry.name, entry.name) in SPLITS and entry.is_dir()
    ]
    found = [
        (AKA.get(split.name, split.name), kind.name, picture)
        for split in splits
        for kind in sorted(split.iterdir())
        if kind.is_dir() and not kind.is_symlink()
        for picture in pictures_in(kind.iterdir())
    ]
    known = {kind for split, kind, _ in found if split == "train"}
    if not known:
        raise InputError(
            Problem(file=str(folder / "train"), problem="no picture in a folder of its class",
                    allowed=f"train/CLASS/*{' *'.join(SUFFIXES)}")
        )  # fmt: skip
    for split, kind, picture in found:
        if kind not in known:
            raise InputError(
                Problem(file=str(picture), field=f"{split}/{kind}", problem="a class that train/ does not have",
                        found=kind, allowed=", ".join(sorted(known)), nearest=nearest(kind, known))
            )  # fmt: skip
    return found


def _copied(found: list[tuple[str, str, Path]], shop: ShopWriter, progress: Progress) -> Iterator[dict[str, Any]]:
    for split, kind, picture in found:
        inner = f"{split}/{kind}/{picture.name}"
        yield {"image_id": inner, "path": copy_picture(picture, shop, inner), "label": kind, "split": split}
        progress.advance()


ADAPTER = DatasetAdapter(
    name="image-folders",
    description="Any pictures in folders of classes.",
    reads="train/CLASS/*.jpg (or .png, .webp), the same in validation/ and test/ where there are any",
    origin="whoever made the folders",
    licence="theirs",
    reader=read,
)
