"""What the adapters of picture sets read, and how they name what is wrong."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from training.contracts.errors import InputError, Problem
from training.contracts.shop import Shop
from training.datasets.registry import dataset


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


def load(name: str, source: Path) -> list[dict[str, Any]]:
    dataset(name).read(source, source.parent / "shop", force=True)
    rows: list[dict[str, Any]] = Shop(source.parent / "shop").table("images").to_pylist()
    return rows


def problem(name: str, source: Path) -> Problem:
    with pytest.raises(InputError) as raised:
        load(name, source)
    assert not (source.parent / "shop").exists()
    return raised.value.problems[0]


def idx(magic: int, *shape: int, values: bytes | None = None) -> bytes:
    header = b"".join(length.to_bytes(4, "big") for length in (magic, *shape))
    return gzip.compress(header + (bytes(int(np.prod(shape))) if values is None else values))


def write_idx(source: Path, prefix: str = "train", *, labels: bytes = b"\0\7", pictures: bytes | None = None) -> None:
    values = bytes(range(32)) if pictures is None else pictures
    (source / f"{prefix}-images-idx3-ubyte.gz").write_bytes(idx(2051, 2, 4, 4, values=values))
    (source / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(idx(2049, len(labels), values=labels))


def test_idx_pictures_keep_every_pixel_and_their_split(source: Path) -> None:
    write_idx(source)
    write_idx(source, "t10k", labels=b"\2\2")
    rows = load("fashion-mnist", source)
    assert [(row["split"], row["label"]) for row in rows] == [
        ("train", "t-shirt"), ("train", "sneaker"), ("test", "pullover"), ("test", "pullover"),
    ]  # fmt: skip
    second = np.asarray(Image.open(source.parent / "shop" / rows[1]["path"]))
    assert second.tolist() == np.arange(16, 32).reshape(4, 4).tolist()


@pytest.mark.parametrize(
    ("change", "file", "row"),
    [
        ({"labels": b"\0\12"}, "train-labels", 1), ({"labels": b"\0\1\2"}, "train-labels", None),
        ({"pictures": bytes(20)}, "train-images", 1), ({"pictures": bytes(40)}, "train-images", 2),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_idx_file_is_named(
    source: Path, change: dict[str, Any], file: str, row: int | None
) -> None:
    write_idx(source, **change)
    write_idx(source, "t10k")
    found = problem("fashion-mnist", source)
    assert file in str(found.file)
    assert found.row == row


def test_labels_in_the_place_of_pictures_are_no_pictures(source: Path) -> None:
    write_idx(source)
    write_idx(source, "t10k")
    (source / "train-images-idx3-ubyte.gz").write_bytes(idx(2049, 5))
    assert "not an IDX file" in problem("fashion-mnist", source).problem
    (source / "train-images-idx3-ubyte.gz").write_bytes(b"no gzip")
    assert "cannot be unpacked" in problem("fashion-mnist", source).problem


def write_picture(file: Path, size: tuple[int, int] = (8, 6)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "red").save(file)


def test_folders_become_labels_and_splits(source: Path) -> None:
    for inner in ("train/hat/1.png", "train/shoe/1.png", "valid/hat/1.png", "test/shoe/1.png"):
        write_picture(source / inner)
    (source / "train" / "hat" / "README.txt").write_text("no picture")
    for hidden in (
        "train/.ipynb_checkpoints/1.png",
        "train/hat/.thumbs/1.png",
        "train/hat/._1.png",
        "__MACOSX/a/1.png",
    ):
        write_picture(source / hidden)
    rows = load("image-folders", source)
    assert Counter((row["split"], row["label"]) for row in rows) == Counter(
        [("train", "hat"), ("train", "shoe"), ("validation", "hat"), ("test", "shoe")]
    )


def test_a_folder_per_class_is_enough_and_a_fifth_becomes_test(source: Path) -> None:
    for number in range(30):
        write_picture(source / f"hat/{number}.png")
        write_picture(source / f"shoe/{'summer' if number % 2 else 'winter'}/{number // 2}.png")
    write_picture(source / "scarf/only.png")
    rows = load("image-folders", source)
    assert len({row["image_id"] for row in rows}) == len(rows) == 61
    counts = Counter((row["split"], row["label"]) for row in rows)
    assert counts["test", "hat"] == counts["test", "shoe"] == 6
    assert counts["train", "scarf"] == 1
    assert {(row["image_id"], row["split"]) for row in rows} == {
        (row["image_id"], row["split"]) for row in load("image-folders", source)
    }


@pytest.mark.parametrize(
    ("folders", "said", "nearest"),
    [(("trian", "tset"), "holds only folders, as a split does", "train"), (("data",), "holds only folders", None),
     (("data/train", "data/test"), "with its own train/", None)],
)  # fmt: skip
def test_splits_of_another_name_are_no_classes(
    source: Path, folders: tuple[str, ...], said: str, nearest: str | None
) -> None:
    for folder in folders:
        write_picture(source / folder / "hat/1.png")
    found = problem("image-folders", source)
    assert said in found.problem
    assert (found.nearest, Path(str(found.file)).parent) == (nearest, source)


@pytest.mark.parametrize(
    "kinds", [("boots", "training"), ("boots", "train"), ("boots", "vest"), ("val", "tent", "cap")]
)
@pytest.mark.parametrize("inner", ["1.png", "high/1.png"])
def test_a_class_may_be_called_like_a_split(source: Path, kinds: tuple[str, ...], inner: str) -> None:
    for kind in kinds:
        write_picture(source / kind / ("1.png" if kind == "train" else inner))
    assert {row["label"] for row in load("image-folders", source)} == set(kinds)


@pytest.mark.parametrize("inner", ["hat/1.png", "train/hat/1.png"])
def test_the_folder_that_is_named_may_be_a_link(source: Path, inner: str, tmp_path: Path) -> None:
    write_picture(source / inner)
    (tmp_path / "link").symlink_to(source)
    assert [row["label"] for row in load("image-folders", tmp_path / "link")] == ["hat"]


def test_what_lies_beside_the_splits_is_left_out(source: Path) -> None:
    for inner in ("train/hat/1.png", "val/hat/1.png", "unsorted/1.png"):
        write_picture(source / inner)
    (source / "latest").symlink_to(source / "train")
    assert [row["split"] for row in load("image-folders", source)] == ["train", "validation"]


def test_a_folder_of_sets_is_no_folder_of_classes(source: Path) -> None:
    write_picture(source / "one/photos/1.png")
    write_picture(source / "two/train/hat/1.png")
    found = problem("image-folders", source)
    assert "with its own train/" in found.problem
    assert Path(str(found.file)) == source / "two"


def test_the_case_of_a_split_says_nothing(source: Path) -> None:
    for split in ("Training", "TEST"):
        write_picture(source / split / "hat/1.png")
    assert [row["split"] for row in load("image-folders", source)] == ["test", "train"]


@pytest.mark.parametrize("link", ["train/hat/link.png", "train/cap", "train/hat/more"])
def test_a_link_is_named_not_followed(source: Path, link: str, tmp_path: Path) -> None:
    write_picture(source / "train/hat/1.png")
    write_picture(tmp_path / "elsewhere/1.png")
    target = tmp_path / "elsewhere"
    (source / link).symlink_to(target / "1.png" if link.endswith(".png") else target)
    found = problem("image-folders", source)
    assert "a link" in found.problem
    assert Path(str(found.file)) == source / link


def test_an_unreadable_picture_is_imported_for_the_job_to_report(source: Path) -> None:
    write_picture(source / "train/hat/1.png")
    (source / "train/hat/2.png").write_bytes(b"broken")
    assert len(load("image-folders", source)) == 2


def test_a_class_that_train_lacks_is_named_with_the_nearest(source: Path) -> None:
    write_picture(source / "train/trousers/1.png")
    write_picture(source / "test/trouser/1.png")
    found = problem("image-folders", source)
    assert (found.found, found.nearest, found.field) == ("trouser", "trousers", "test/trouser")


@pytest.mark.parametrize(
    ("name", "said"),
    [(f"{'a' * 200}/{'b' * 60}.png", "an image id of 275 characters; at most 256"), ("a\nb.png", "control character")],
)
def test_an_image_id_that_train_would_refuse_is_refused_at_import(source: Path, name: str, said: str) -> None:
    write_picture(source / "train/hat/1.png")
    write_picture(source / "train/hat" / name)
    found = problem("image-folders", source)
    assert said in found.problem
    assert Path(str(found.file)) == source / "train/hat" / name


def test_two_folders_of_one_split_may_not_hold_the_same_name(source: Path) -> None:
    for split in ("train", "valid", "validation"):
        write_picture(source / split / "hat/1.png")
    assert "two pictures of one image id" in problem("image-folders", source).problem


def write_boxes(source: Path, *images: dict[str, Any]) -> None:
    plain = {"id": "0001", "file": "photos/1.png", "width": 80, "height": 60, "objects": []}
    for image in images:
        name = {**plain, **image}["file"]
        if name.startswith("photos/") and ".." not in name and "absent" not in name:
            write_picture(source / name, (80, 60))
    (source / "boxes.json").write_text(json.dumps({"images": [{**plain, **image} for image in images]}))


def test_boxes_are_shares_of_the_photo_and_every_fifth_is_test(source: Path) -> None:
    box = {"label": "hat", "box": [8, 6, 40, 66]}
    write_boxes(source, {"objects": [box]}, {"id": "0010", "file": "photos/10.png"})
    first, second = load("boxes", source)
    assert (first["split"], second["split"]) == ("train", "test")
    assert first["boxes"] == [{"x0": 0.1, "y0": 0.1, "x1": 0.5, "y1": 1.0, "label": "hat"}]
    assert second["boxes"] == []


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ({"objects": [{"label": "hat", "box": [9, 9, 9, 20]}]}, "an empty box of hat"),
        ({"objects": [{"label": "hat", "box": [9, 9, 20]}]}, "wrong shape"),
        ({"objects": [{"label": "hat"}]}, "KeyError('box')"),
        ({"id": "one"}, "wrong shape"),
        ({"width": 0, "objects": [{"label": "hat", "box": [1, 1, 2, 2]}]}, "ZeroDivisionError"),
        ({"id": float("inf")}, "OverflowError"),
        ({"id": "7".zfill(257)}, "an image id of 257 characters; at most 256"),
        ({"file": "../1.png"}, "leaves the folder"),
        ({"file": "photos/absent.png"}, "no such photo"),
        ({"id": "0007"}, "is there twice"),
    ],
)
def test_what_is_wrong_with_a_photo_is_named_by_its_row(source: Path, image: dict[str, Any], said: str) -> None:
    write_boxes(source, {"id": "0007"}, image)
    found = problem("boxes", source)
    assert said in found.problem
    assert (Path(str(found.file)).name, found.row) == ("boxes.json", 1)
