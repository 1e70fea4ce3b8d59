"""`shopkeeper data` on folders a test writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployments.state.importing import import_shop
from deployments.state.open import open_store
from training.contracts.shop import Shop

Run = Callable[..., Any]


@pytest.fixture
def sequences(tmp_path: Path) -> Path:
    folder = tmp_path / "downloads"
    folder.mkdir()
    (folder / "Toys.txt").write_text("u1 i1 i2 i3\nu2 i2 i3\n")
    return folder


def test_import_then_check(shopkeeper: Run, sequences: Path, tmp_path: Path) -> None:
    arguments = ["data", "import", "amazon-sequences", "--from", sequences, "--out", tmp_path / "toys", "--json"]
    assert shopkeeper(*arguments).json()["tables"] == {"items": 3, "users": 2, "events": 5}
    checked = shopkeeper("data", "check", tmp_path / "toys", "--json").json()
    assert checked == {"ok": True, "tables": {"items": 3, "users": 2, "events": 5}, "problems": []}


def test_occupied_out_needs_force(shopkeeper: Run, sequences: Path, tmp_path: Path) -> None:
    arguments = ["data", "import", "amazon-sequences", "--from", sequences, "--out", tmp_path / "toys"]
    (tmp_path / "toys").mkdir()
    (tmp_path / "toys" / "mine").write_text("x")
    refused = shopkeeper(*arguments)
    assert refused.code == 2
    assert "--force" in refused.stderr
    assert (tmp_path / "toys" / "mine").exists()
    assert shopkeeper(*arguments, "--force").code == 0
    assert not (tmp_path / "toys" / "mine").exists()


def test_out_must_not_replace_what_is_read(shopkeeper: Run, sequences: Path, tmp_path: Path) -> None:
    for out in (sequences, tmp_path):
        done = shopkeeper("data", "import", "amazon-sequences", "--from", sequences, "--out", out, "--force")
        assert done.code == 2
        assert (sequences / "Toys.txt").exists()


def test_failed_import_leaves_nothing(shopkeeper: Run, sequences: Path, tmp_path: Path) -> None:
    (sequences / "Toys_items.tsv").write_text("item_id\tattributes\ni1\n")
    done = shopkeeper("data", "import", "amazon-sequences", "--from", sequences, "--out", tmp_path / "toys", "--json")
    assert done.code == 2
    (problem,) = done.json()["problems"]
    assert (Path(problem["file"]).name, problem["line"]) == ("Toys_items.tsv", 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["downloads"]


def test_check_exits_2_on_errors(shopkeeper: Run, sequences: Path, tmp_path: Path) -> None:
    shopkeeper("data", "import", "amazon-sequences", "--from", sequences, "--out", tmp_path / "toys")
    (tmp_path / "toys" / "users.parquet").write_bytes(b"PAR1")
    done = shopkeeper("data", "check", tmp_path / "toys", "--json")
    assert done.code == 2
    (problem,) = done.json()["problems"]
    assert {"table", "row", "column", "problem", "severity"} <= set(problem)
    assert (problem["table"], problem["severity"], done.json()["ok"]) == ("users", "error", False)
    assert "error: users" in shopkeeper("data", "check", tmp_path / "toys").stdout


def test_export_writes_the_state(
    shopkeeper: Run, sequences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOPKEEPER_HOME", str(tmp_path / "home"))
    assert shopkeeper("data", "export", "--out", tmp_path / "out").code == 2
    shopkeeper("data", "import", "amazon-sequences", "--from", sequences, "--out", tmp_path / "toys")
    (tmp_path / "home" / "state").mkdir(parents=True)
    store = open_store(f"sqlite:///{tmp_path}/home/state/toys.sqlite", "toys")
    import_shop(store, Shop(tmp_path / "toys"))
    store.close()
    assert shopkeeper("data", "export", "--out", tmp_path / "out", "--shop-id", "boys").code == 2
    done = shopkeeper("data", "export", "--out", tmp_path / "out", "--json")
    assert done.json()["tables"] == {"items": 3, "users": 2, "events": 5}
    assert shopkeeper("data", "check", tmp_path / "out").code == 0
