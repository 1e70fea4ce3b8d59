"""What all commands share: help, exit codes, one JSON document, one-line causes."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster.cli import COMMANDS
from cluster.output import Output, command, jsonable
from training.contracts.errors import InputError, Problem, ShopkeeperError
from training.datasets.registry import DATASETS

HEAVY = ("ray", "torch", "pandas", "pyarrow", "matplotlib", "numpy", "faiss", "fastapi")
HELP_LIMIT_S = 0.6

Run = Callable[..., Any]


def help_pages() -> list[list[str]]:
    groups = {"data": ["sample", "list", "import", "check", "export"], "models": ["list", "show", "compare", "promote"]}
    single = [[name] for name in COMMANDS if name not in groups]
    return single + [[group, name] for group, names in groups.items() for name in names]


def test_help_imports_nothing_heavy_and_shows_an_example() -> None:
    code = (
        "import sys\nfrom cluster.cli import main\n"
        f"for page in {[[], ['data'], ['models'], *help_pages()]!r}:\n"
        "    try:\n        main([*page, '--help'])\n"
        "    except SystemExit as stop:\n        assert not stop.code, page\n"
        f"    heavy = [name for name in {HEAVY!r} if name in sys.modules]\n    assert not heavy, (page, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Example") == len(help_pages())


def test_help_is_instant() -> None:
    """In processor time, so that a busy machine does not decide."""

    def children_s() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    before_s = children_s()
    subprocess.run([sys.executable, "-m", "cluster.cli", "--help"], capture_output=True, timeout=60, check=True)
    assert children_s() - before_s < HELP_LIMIT_S


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dta"], "Did you mean 'data'"),
        (["data", "chek"], "Did you mean 'check'"),
        (["data", "sample", "--ot", "x"], "--out"),
        (["data", "sample", "--out", "x", "--size", "smal"], "'small'"),
        (["data", "sample"], "--out"),
        (["data", "import", "movielens-2m", "--from", ".", "--out", "x"], "movielens-1m"),
    ],
)
def test_usage_errors_exit_2_and_name_the_nearest(shopkeeper: Run, arguments: list[str], said: str) -> None:
    plain = shopkeeper(*arguments)
    assert (plain.code, plain.stdout) == (2, "")
    assert said in plain.stderr
    machine = shopkeeper(*arguments, "--json")
    assert machine.code == 2
    assert machine.json()["ok"] is False
    assert machine.json()["problems"]


def test_data_list_names_every_data_set(shopkeeper: Run) -> None:
    rows = shopkeeper("data", "list", "--json").json()
    assert [row["name"] for row in rows] == list(DATASETS)
    assert all(row["origin"] and row["licence"] for row in rows)


def test_check_of_no_shop(shopkeeper: Run, tmp_path: Path) -> None:
    done = shopkeeper("data", "check", tmp_path / "nowhere", "--json")
    assert done.code == 2
    assert done.json()["problems"][0]["file"] == str(tmp_path / "nowhere")


def call(function: Callable[[Output], None], **options: bool) -> int:
    """Run a command function as typer would; returns the exit code."""
    import typer

    try:
        command(function)(**({"json": False, "debug": False} | options))
    except typer.Exit as stop:
        return stop.exit_code
    return 0


def fail_with(error: BaseException) -> Callable[[Output], None]:
    def run(_output: Output) -> None:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ShopkeeperError("the port is taken"), 1, "error: the port is taken\n"),
        (ValueError("a\nb"), 1, "error: ValueError: a b (--debug shows the traceback)\n"),
        (KeyError(), 1, "error: KeyError (--debug shows the traceback)\n"),
        (
            InputError([Problem(problem="p", table="t", row=0), Problem(problem="q")]),
            2,
            "error: t row 0: p\nerror: q\n",
        ),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 1, ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_failures_are_one_line_each(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(fail_with(error)) == code
    assert capsys.readouterr().err == line


def test_failure_under_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(fail_with(ShopkeeperError("no")), json=True) == 1
    assert json.loads(capsys.readouterr().out) == {"ok": False, "error": "no"}


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    call(fail_with(ValueError("x")), debug=True)
    assert "Traceback" in capsys.readouterr().err


def test_a_failure_after_the_answer_adds_no_second_document(capsys: pytest.CaptureFixture[str]) -> None:
    def run(output: Output) -> None:
        output.answer({"a": 1})
        raise ShopkeeperError("later")

    assert call(run, json=True) == 1
    assert json.loads(capsys.readouterr().out) == {"a": 1}


def test_foreign_output_is_kept_away_from_json() -> None:
    code = (
        "import os, subprocess\n"
        "from cluster.output import command\n"
        "def run(output):\n"
        "    print('python'); os.write(1, b'c library\\n'); subprocess.run(['echo', 'child'])\n"
        "    output.answer({'a': float('nan')})\n"
        "    print('python'); subprocess.run(['echo', 'child'])\n"
        "command(run)(json=True, debug=False)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == {"a": None}
    assert done.stderr.count("child") == 2


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_by_a_signal(sent: signal.Signals, code: int, tmp_path: Path) -> None:
    fifo = tmp_path / "in"
    fifo.mkdir()
    os.mkfifo(fifo / "sequences_x.txt")
    arguments = ["data", "import", "movielens-1m", "--from", str(fifo), "--out", str(tmp_path / "out")]
    process = subprocess.Popen(
        [sys.executable, "-m", "cluster.cli", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with open(fifo / "sequences_x.txt", "w") as writer:  # opens once the command reads
        writer.write("1 2 3\n")
        writer.flush()
        process.send_signal(sent)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_jsonable_has_a_word_for_everything() -> None:
    import numpy as np

    values = {"a": np.float32(1), "b": np.array([1, 2]), 3: Path("x"), "c": (float("inf"), None, {"s"})}
    assert jsonable(values) == {"a": 1.0, "b": [1, 2], "3": "x", "c": [None, None, ["s"]]}
