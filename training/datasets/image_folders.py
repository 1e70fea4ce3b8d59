"""Folders of pictures: train/, validation/ and test/, in each one folder per class; or just a folder per class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from training.contracts.errors import InputError, Problem, nearest, shorten
from training.contracts.progress import NoProgress, Progress
from training.contracts.shop import ShopWriter, new_shop
from training.datasets.adapter import DatasetAdapter, only_file
from training.datasets.picture_shop import SUFFIXES, copy_picture, id_problem, picture_info, pictures_in, write_images

SPLITS = ("train", "validation", "test")
AKA = {"valid": "validation", "val": "validation"}
TEST_EACH = 5


class Found(NamedTuple):
    """A picture; its name is its place in the folder of its class."""

    split: str
    kind: str
    picture: Path
    name: str

    @property
    def image_id(self) -> str:
        return f"{self.split}/{self.kind}/{self.name}"


def read(folder: Path, out: Path, *, force: bool = False, progress: Progress = NoProgress()) -> dict[str, int]:
    """Import a folder of the format into a new shop at `out`; returns rows per table."""
    found = _found(folder)
    _check_ids(found)
    progress.stage("copying pictures", len(found))
    with new_shop(out, picture_info(folder.resolve().name, fallback="image-folders"), force=force) as shop:
        write_images(shop, list(_copied(found, shop, progress)))
        return shop.counts


def _found(folder: Path) -> list[Found]:
    """Every picture; raises InputError where there are no classes, or train/ lacks one."""
    splits = [
        entry for entry in sorted(folder.iterdir()) if AKA.get(entry.name, entry.name) in SPLITS and entry.is_dir()
    ]
    if not splits and (unsplit := list(_in_classes(folder, "train"))):
        return list(_with_test(unsplit))
    only_file(folder, [folder / "train"] if (folder / "train").is_dir() else [], wanted="folder train/")
    found = [one for split in splits for one in _in_classes(split, AKA.get(split.name, split.name))]
    known = {one.kind for one in found if one.split == "train"}
    if not known:
        raise InputError(
            Problem(file=str(folder / "train"), problem="no picture in a folder of its class",
                    allowed=f"train/CLASS/*{' *'.join(SUFFIXES)}")
        )  # fmt: skip
    for one in found:
        if one.kind not in known:
            raise InputError(
                Problem(file=str(one.picture), field=f"{one.split}/{one.kind}", found=one.kind,
                        problem="a class that train/ does not have", allowed=", ".join(sorted(known)),
                        nearest=nearest(one.kind, known))
            )  # fmt: skip
    return found


def _in_classes(folder: Path, split: str) -> Iterator[Found]:
    for kind in sorted(folder.iterdir()):
        if kind.is_dir() and not kind.is_symlink():
            for picture in pictures_in(kind.rglob("*")):
                yield Found(split, kind.name, picture, str(picture.relative_to(kind)))


def _with_test(found: list[Found]) -> Iterator[Found]:
    """Every TEST_EACHth picture of a class is test: else nothing is measured."""
    places = Counter[str]()
    for one in found:
        places[one.kind] += 1
        yield one._replace(split="test") if places[one.kind] % TEST_EACH == 0 else one


def _check_ids(found: list[Found]) -> None:
    times = Counter(one.image_id for one in found)
    for one in found:
        problem = id_problem(one.image_id) or ("two pictures of one image id" if times[one.image_id] > 1 else None)
        if problem:
            raise InputError(
                Problem(file=str(one.picture), problem=problem, found=shorten(one.image_id),
                        allowed="SPLIT/CLASS/NAME as an image id")
            )  # fmt: skip


def _copied(found: list[Found], shop: ShopWriter, progress: Progress) -> Iterator[dict[str, Any]]:
    for one in found:
        path = copy_picture(one.picture, shop, one.image_id)
        yield {"image_id": one.image_id, "path": path, "label": one.kind, "split": one.split}
        progress.advance()


ADAPTER = DatasetAdapter(
    name="image-folders",
    description="Any pictures in folders of classes.",
    reads="train/CLASS/*.jpg (or .png, .webp), the same in validation/ and test/ where there are any; or CLASS/*.jpg",
    origin="whoever made the folders",
    licence="theirs",
    reader=read,
)
