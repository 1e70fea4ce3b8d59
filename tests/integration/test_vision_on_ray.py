"""The vision job on Ray Train: two workers train one embedding and detector, Ray Data finds every image's nearest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.picture_shop import COLOURS, make_picture_shop

pytestmark = pytest.mark.ray

SETTINGS = ("epochs=4", "dim=16", "prefixes=[8]", "pictures_per_step=8", "backbone.width=8", "side=16",
            "learning_rate=0.01", "detector.side=64", "detector.channels=8", "detector.epochs=1")  # fmt: skip


def answer(home: Path, *arguments: object) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "cluster.cli", *map(str, arguments), "--json"],
        env={**os.environ, "SHOPKEEPER_HOME": str(home)}, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_two_workers_train_and_ray_data_predicts(tmp_path: Path) -> None:
    home, shop = tmp_path / "home", make_picture_shop(tmp_path / "shop", each=8, tests=2, side=64, boxes=True)
    (shop.path / "pictures" / "test-red-0.png").write_bytes(b"broken")
    settings = [word for one in SETTINGS for word in ("--set", one)]
    trained = answer(home, "train", "vision", "--data", shop.path, "--workers", 2, *settings)
    assert {"recall@1", "map@10", "recall_iou50"} <= trained["metrics"].keys()
    assert any("test-red-0" in note for note in trained["notes"])
    evaluated = answer(home, "evaluate", "vision", "--data", shop.path)
    assert evaluated["metrics"]["recall@1"] == pytest.approx(trained["metrics"]["recall@1"])
    out = tmp_path / "nearest.parquet"
    answer(home, "predict", "vision", "--data", shop.path, "--out", out, "--limit", 2)
    rows = pq.read_table(out).to_pylist()
    assert len({row["image_id"] for row in rows}) == len(COLOURS) * 10
    assert [row["image_id"] for row in rows if row["problem"]] == ["test-red-0"]
