"""A catalogue embedded elsewhere, in any order, is the catalogue embedded here; what cannot be read is named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tests.picture_shop import make_picture_shop
from training.contracts.progress import NoProgress
from training.jobs.gallery_embedding import embedded_by
from training.jobs.vision_bundle import shop_pictures
from training.jobs.vision_config import VisionConfig
from training.jobs.vision_data import load
from training.jobs.vision_judging import embedded
from training.models.image_baselines import RawPixels


def backwards(blocks: Sequence[pa.Table], made: type, arguments: Sequence[Any]) -> Iterator[pa.Table]:
    """Blocks of five, the last first."""
    work = made(*arguments)
    whole = pa.concat_tables(blocks)
    yield from (work(whole.slice(first, 5)) for first in reversed(range(0, len(whole), 5)))


def test_elsewhere_is_as_here(tmp_path: Path) -> None:
    shop = make_picture_shop(tmp_path / "shop", each=9, boxes=True)
    (shop.path / "pictures" / "train-blue-2.png").write_bytes(b"broken")
    data = load(shop, VisionConfig(side=16))
    here, there = (shop_pictures(data, cache_bytes=1 << 20)["gallery"] for _ in range(2))
    one = embedded(RawPixels(16), here)
    other = embedded_by(backwards, RawPixels(16), there, NoProgress())
    assert [shot.image_id for shot in one.shots] == [shot.image_id for shot in other.shots]
    assert len(one.shots) == len(data.gallery) - 1
    np.testing.assert_array_equal(one.vectors_ND, other.vectors_ND)
    assert here.problems() == there.problems() != []
