"""Folders of pictures: train/, validation/ and test/, in each one folder per class; or just a folder per class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from training.contracts.errors import InputError, Problem, nearest, shorten
from training.contracts.progress import NoProgress, Progress
from training.contracts.shop import ShopWriter, new_shop
from training.datasets.adapter import DatasetAdapter, listing
from training.datasets.picture_shop import copy_picture, id_problem, picture_info, write_images

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
SPLITS = {
    "train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
"""What folders of classes are called, whatever the case, and the split that it means."""
LAYOUT = f"CLASS/*{' *'.join(SUFFIXES)}, or the same in train/, validation/ and test/"
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
    splits = _splits(folder)
    if not splits:
        _refuse_another_layout(folder)
    found = [one for entry, split in splits or [(folder, "train")] for one in _in_classes(entry, split)]
    known = {one.kind for one in found if one.split == "train"}
    if not known:
        raise InputError(
            Problem(file=str(folder), problem="no training picture in a folder of its class", found=listing(folder),
                    allowed=LAYOUT)
        )  # fmt: skip
    for one in found:
        if one.kind not in known:
            raise InputError(
                Problem(file=str(one.picture), field=f"{one.split}/{one.kind}", found=one.kind,
                        problem="a class that train/ does not have", allowed=", ".join(sorted(known)),
                        nearest=nearest(one.kind, known))
            )  # fmt: skip
    return found if splits else list(_with_test(found))


def _splits(folder: Path) -> list[tuple[Path, str]]:
    """Folders called like splits: where one is train/ the others beside them are none, else all must be."""
    entries = _folders(folder)
    named = [(entry, SPLITS[entry.name.lower()]) for entry in entries if entry.name.lower() in SPLITS]
    if not (_has_train(folder) or len(named) == len(entries)):
        return []
    return [(_no_link(entry), split) for entry, split in named]


def _has_train(folder: Path) -> bool:
    return any(entry.name.lower() == "train" and _holds_only_folders(entry) for entry in _folders(folder))


def _refuse_another_layout(folder: Path) -> None:
    """Raises InputError for what would be classes, but looks like splits of another name or like a folder too many."""
    kinds = _folders(folder)
    for kind in kinds:
        if _has_train(kind):
            raise InputError(
                Problem(file=str(kind), problem="is a set of pictures with its own train/, no class", found=kind.name,
                        allowed=LAYOUT)
            )  # fmt: skip
    if not kinds or not all(map(_holds_only_folders, kinds)):
        return
    near = [nearest(kind.name.lower(), SPLITS) for kind in kinds]
    if all(near) or len(kinds) == 1:
        problem = "holds only folders, as a split does" if near[0] else "is the only folder, and holds only folders"
        raise InputError(
            Problem(file=str(kinds[0]), problem=problem, found=kinds[0].name, allowed=LAYOUT, nearest=near[0])
        )


def _in_classes(folder: Path, split: str) -> Iterator[Found]:
    for kind in map(_no_link, _folders(folder)):
        for picture in sorted(_pictures(kind)):
            yield Found(split, kind.name, picture, str(picture.relative_to(kind)))


def _folders(folder: Path) -> list[Path]:
    """By name; hidden ones are left out, and what a Mac puts into archives."""
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not _is_hidden(entry))


def _holds_only_folders(folder: Path) -> bool:
    return bool(_folders(folder)) and not any(_is_picture(entry) for entry in folder.iterdir())


def _pictures(folder: Path) -> Iterator[Path]:
    """All of a class, also in folders of its own."""
    yield from (_no_link(entry) for entry in folder.iterdir() if _is_picture(entry))
    for inner in map(_no_link, _folders(folder)):
        yield from _pictures(inner)


def _is_picture(entry: Path) -> bool:
    return entry.suffix.lower() in SUFFIXES and not _is_hidden(entry) and not entry.is_dir()


def _is_hidden(entry: Path) -> bool:
    return entry.name.startswith(".") or entry.name == "__MACOSX"


def _no_link(entry: Path) -> Path:
    if entry.is_symlink():
        raise InputError(
            Problem(file=str(entry), problem="a link, which is not followed",
                    allowed="the pictures themselves: cp -rL copies a folder with what its links name")
        )  # fmt: skip
    return entry


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
    reads=LAYOUT,
    origin="whoever made the folders",
    licence="theirs",
    reader=read,
)
