"""A folder appears whole or not at all, and never in place of the one that the process stands in."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.contracts.atomic import new_folder
from training.contracts.errors import InputError


@pytest.mark.parametrize("out", [".", "..", "inner/..", "/"])
def test_the_current_folder_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(InputError, match="current folder"), new_folder(Path(out), force=True):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["here"]


def test_a_folder_that_fails_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with new_folder(Path("shop")) as folder:
        (folder / "old").touch()
    with pytest.raises(InputError, match="--force"), new_folder(Path("shop")):
        pass
    with pytest.raises(RuntimeError), new_folder(Path("shop"), force=True):
        raise RuntimeError
    assert [path.name for path in tmp_path.rglob("*")] == ["shop", "old"]
    with new_folder(Path("shop"), force=True) as folder:
        (folder / "new").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["shop", "new"]
