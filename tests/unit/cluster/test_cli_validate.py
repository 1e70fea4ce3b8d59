"""`shopkeeper validate` names file, line, field and the nearest valid name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

GOOD = "shop_id: a\nreference_date: 2026-06-30\n"
CONFIGS = sorted((Path(__file__).parents[3] / "configs").rglob("*.yaml"))

Run = Callable[..., Any]


def test_good_file(shopkeeper: Run, tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(GOOD)
    done = shopkeeper("validate", tmp_path / "shop.yaml", "--json")
    assert (done.code, done.json()) == (0, {"ok": True, "problems": []})


@pytest.mark.parametrize(
    ("text", "line", "field", "nearest"),
    [
        (GOOD + "# why\ncurency: EUR\n", 4, "curency", "currency"),
        (GOOD + "repeats: maybe\n", 3, "repeats", None),
        (GOOD + "positive_types: [purchas]\n", 3, "positive_types", None),
        (GOOD + "name: x\nname: y\n", 4, "name", None),
        ("reference_date: 2026-06-30\n", 1, "shop_id", None),
        (GOOD + "name: [\n", 4, None, None),
        ("- a\n", 1, None, None),
        ("shop_id: a\nreference_date: 2026-02-30\n", None, None, None),
        (GOOD + "name: &a [*a]\n", 3, "name", None),
    ],
)
def test_bad_file(
    shopkeeper: Run, tmp_path: Path, text: str, line: int | None, field: str | None, nearest: str | None
) -> None:
    (tmp_path / "shop.yaml").write_text(text)
    done = shopkeeper("validate", tmp_path / "shop.yaml", "--json")
    assert done.code == 2
    (problem,) = done.json()["problems"]
    assert (problem["line"], problem["field"], problem["nearest"]) == (line, field, nearest)
    assert problem["file"] == str(tmp_path / "shop.yaml")


def test_every_problem_of_every_file(shopkeeper: Run, tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text("name: 3\nfoo: 1\n")
    done = shopkeeper("validate", tmp_path / "shop.yaml", tmp_path / "nowhere.yaml", "--json")
    assert {problem["field"] for problem in done.json()["problems"]} == {
        "name",
        "foo",
        "shop_id",
        "reference_date",
        None,
    }


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_are_valid(shopkeeper: Run, config: Path) -> None:
    assert shopkeeper("validate", config).code == 0


def test_a_file_of_any_name_is_told_by_its_fields(shopkeeper: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("request:\n  candidats: 100\n")
    done = shopkeeper("validate", tmp_path / "mine.yaml", "--json")
    (problem,) = done.json()["problems"]
    assert (problem["line"], problem["field"], problem["nearest"]) == (2, "request.candidats", "candidates")
