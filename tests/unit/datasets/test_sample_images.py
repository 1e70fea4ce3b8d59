"""Pictures of the sample shop: an item is recognisable in any view, and drawing can be resumed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.contracts.shop import Shop
from training.datasets.sample import ItemLook, draw_images, generate, render
from training.datasets.sample.catalogue import draw_catalogue
from training.datasets.sample.looks import draw_looks
from training.datasets.sample.spec import SizeSpec

SPEC = SizeSpec(
    items=420, users=20, block_users=20, sales_weeks=53, pictured_items=5, utterances_per_intent=1, dialogues=1
)


@pytest.fixture(scope="module")
def looks() -> list[ItemLook]:
    return draw_looks(draw_catalogue(SPEC, 0), 0)


def histogram(picture: Image.Image) -> np.ndarray:
    """Square roots of an 8x8x8 colour histogram of the middle of the picture."""
    pixels = np.asarray(picture.crop((24, 24, 72, 72))).reshape(-1, 3) // 32
    counts = np.bincount(pixels @ (64, 8, 1), minlength=512)
    return np.sqrt(counts / counts.sum())


def test_a_view_is_reproducible_and_views_differ(looks: list[ItemLook]) -> None:
    assert render(looks[0], 7).tobytes() == render(looks[0], 7).tobytes()
    assert render(looks[0], 7).tobytes() != render(looks[0], 8).tobytes()
    assert render(looks[0], 7, size_px=40).size == (40, 40)
    assert np.asarray(render(looks[0], 0))[0, 0].tolist() == [255, 255, 255]


def test_views_of_one_item_are_nearer_than_views_of_others(looks: list[ItemLook]) -> None:
    items = 60
    first = np.stack([histogram(render(look, 11)) for look in looks[:items]])
    second = np.stack([histogram(render(look, 12)) for look in looks[:items]])
    likeness = first @ second.T
    own = np.diag(likeness)
    others = likeness[~np.eye(items, dtype=bool)].reshape(items, -1)
    assert own.mean() > 2 * others.mean()
    nearest = (likeness.argmax(1) == np.arange(items)).mean()
    assert 0.15 < nearest < 0.95


def test_items_of_the_same_leaf_and_colour_still_look_different(looks: list[ItemLook]) -> None:
    twin = ItemLook(**{**vars(looks[0]), "mark_seed": looks[0].mark_seed + 1})
    difference = np.abs(np.asarray(render(twin, 0), int) - np.asarray(render(looks[0], 0), int))
    assert (difference.sum(2) > 60).mean() > 0.05


def test_pictures_may_follow_and_drawing_resumes(tmp_path: Path) -> None:
    out = tmp_path / "shop"
    generate(out, size=SPEC, images=False)
    paths = Shop(out).table("images")["path"].to_pylist()
    assert not (out / "pictures").exists()
    assert draw_images(out, workers=1) == len(paths) == 20
    drawn = (out / paths[3]).read_bytes()
    (out / paths[3]).unlink()
    assert draw_images(out, workers=1) == 1
    assert (out / paths[3]).read_bytes() == drawn


def test_each_item_has_train_and_test_views(tmp_path: Path) -> None:
    generate(tmp_path / "shop", size=SPEC, images=False)
    images = Shop(tmp_path / "shop").table("images").to_pandas()
    assert set(images.groupby("item_id")["split"].agg(lambda split: tuple(sorted(split)))) == {
        ("test", "test", "train", "train")
    }
