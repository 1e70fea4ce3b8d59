"""Which item and label each image of an index is of, through additions, deletions and saving."""

from __future__ import annotations

import time
from pathlib import Path

from training.models.gallery import Gallery, Shown


def gallery() -> Gallery:
    made = Gallery()
    made.put({"1": Shown("a", "dress"), "2": Shown("b"), "3": Shown("a")})
    return made


def test_an_image_goes_by_its_label_its_items_or_the_item() -> None:
    assert gallery().labels_at([0, 1, 2]) == ["dress", "b", "dress"]
    assert gallery().slots_of("a") == [0, 2]
    assert len(gallery()) == 3


def test_forgotten_images_keep_their_slots_and_may_come_again() -> None:
    made = gallery()
    assert made.forget("a") == ["1", "3"]
    assert "1" not in made
    assert made.slots_of("a") == []
    assert made.items() == ["b"]
    made.put({"3": Shown("a"), "4": Shown("c")})
    assert made.slots_of("a") == [2]
    assert made.slot_items == ["a", "b", "a", "c"]


def test_a_saved_gallery_knows_what_was_deleted(tmp_path: Path) -> None:
    made = gallery()
    made.forget("b")
    made.save(tmp_path / "images.parquet")
    loaded = Gallery.load(tmp_path / "images.parquet", ["1", "2", "3"])
    assert loaded.items() == ["a"]
    assert "2" not in loaded
    assert loaded.slots_of("a") == [0, 2]
    assert loaded.labels_at([2]) == ["dress"]


def test_an_item_may_have_very_many_images() -> None:
    made, images = Gallery(), {str(number): Shown("a") for number in range(30_000)}
    started_s = time.thread_time()
    made.put(images)
    assert all(image_id in made for image_id in images)
    assert time.thread_time() - started_s < 2.0
    assert made.forget("a") == list(images)
