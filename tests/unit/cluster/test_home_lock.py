"""One running system per home, and no lock that outlives its holder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cluster.home import Home
from cluster.local.home_lock import hold_home, is_held
from cluster.local.run_state import RunState, load_run_state
from training.contracts.errors import ShopkeeperError

HOLDER = """
import sys
from pathlib import Path
from cluster.home import Home
from cluster.local.home_lock import hold_home
with hold_home(Home(Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_holder_is_told_who_holds_it(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert not is_held(home)
    with hold_home(home), pytest.raises(ShopkeeperError, match="already runs"), hold_home(home):
        pass
    assert not is_held(home)


def test_a_killed_holder_leaves_the_home_free(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert is_held(home)
        holder.kill()
    assert not is_held(home)


def test_a_job_that_the_shop_cannot_train_is_missing_and_not_awaited() -> None:
    state = RunState(
        pid=1, phase="serving", url="", shop_id="s", shop="s", missing=["ranker", "vision"],
        unfit={"ranker": "too few outcomes"},
    )  # fmt: skip
    assert state.awaited == ["vision"]


def test_the_run_state_survives_its_file_and_a_torn_one_is_none(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert load_run_state(home) is None
    state = RunState(pid=1, phase="serving", url="http://127.0.0.1:8000", shop_id="sample", shop="shops/sample")
    state.save(home)
    assert load_run_state(home) == state
    (home.run / "state.json").write_text('{"pid": 1')
    assert load_run_state(home) is None
