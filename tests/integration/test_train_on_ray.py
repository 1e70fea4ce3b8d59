"""Training on Ray Train: two workers train one model, a killed run goes on, Ray Data predicts for everybody."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.commands import answer, command, kill
from tests.serving_shop import wait_until

pytestmark = pytest.mark.ray

USERS, ITEMS, LENGTH = 200, 40, 10


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def shop(home: Path) -> Path:
    """Items follow one another in a circle: what comes next is known to whoever reads the order."""
    folder, chance = home / "sequences", random.Random(0)
    folder.mkdir()
    starts = [chance.randrange(ITEMS) for _ in range(USERS)]
    lines = [
        f"u{user} " + " ".join(f"i{(start + step) % ITEMS:02d}" for step in range(LENGTH))
        for user, start in enumerate(starts)
    ]
    (folder / "Circle.txt").write_text("\n".join(lines) + "\n")
    answer(command(home, "data", "import", "amazon-sequences", "--from", folder, "--out", home / "shop"))
    return home / "shop"


def test_two_workers_train_and_ray_data_predicts(
    home: Path, shop: Path, tmp_path: Path, training_ray: Mapping[str, str]
) -> None:
    wanted = ("train", "recommender", "--data", shop, "--workers", 2, "--set", "epochs=6")
    trained = answer(command(home, *wanted, joins=training_ray))
    assert trained["metrics"]["hr@10"] > 2 * trained["baselines"]["popularity"]["hr@10"]
    assert Path(trained["report"]).read_text().startswith("<!doctype html>")

    out = tmp_path / "tonight.parquet"
    wanted = ("predict", "recommender", "--data", shop, "--out", out, "--limit", 5)
    predicted = answer(command(home, *wanted))
    rows = pq.read_table(out).to_pylist()
    assert len(rows) == predicted["rows"] == USERS * 5
    seen = {f"u{user}": set() for user in range(USERS)}
    for line in (home / "sequences" / "Circle.txt").read_text().splitlines():
        user, *items = line.split()
        seen[user] = set(items)
    assert all(row["item_id"] not in seen[row["user_id"]] for row in rows)


def test_a_killed_run_goes_on_from_its_last_epoch(home: Path, shop: Path, training_ray: Mapping[str, str]) -> None:
    wanted = ("train", "recommender", "--data", shop, "--set", "epochs=6", "--set", "patience=6")
    first = command(home, *wanted)
    snapshots = "*/recommender/*/ray_train/checkpoint_manager_snapshot.json"

    def one_epoch_is_kept() -> bool:
        assert first.poll() is None, first.communicate()[1]
        return any("checkpoint_dir_name" in path.read_text() for path in (home / "runs").glob(snapshots))

    wait_until(one_epoch_is_kept, timeout_s=120)
    kill(first)

    resumed = answer(command(home, *wanted, joins=training_ray))
    assert any("went on after epoch" in note for note in resumed["notes"])
