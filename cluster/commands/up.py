"""`shopkeeper up`: from nothing to a shop that answers."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.home import Home, home
from cluster.output import Output, command
from training.contracts.errors import InputError, Problem, ShopkeeperError

if TYPE_CHECKING:
    from cluster.local.run_state import RunState

WAIT_ALL_S = 5400.0


@command
def up(
    output: Output,
    data: Annotated[Path | None, typer.Option(help="A shop folder. Default: the sample shop, generated.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="HTTP port on 127.0.0.1.")] = 8000,
    profile: Annotated[str, typer.Option(help="How large: a file of configs/deployments.")] = "small",
    detach: Annotated[
        bool, typer.Option("--detach", help="Return once it serves; `shopkeeper down` stops it.")
    ] = False,
    wait_all: Annotated[bool, typer.Option("--wait-all", help="Wait until every job is trained and served.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the sample shop.")] = 0,
) -> None:
    """Serve a shop: generate or import it, train what has no champion, answer HTTP.

    Example: shopkeeper up --data shops/beauty --port 8001 --detach
    """
    from cluster.local.processes import end_tree
    from cluster.local.run_state import log_file
    from cluster.local.supervisor import UpOptions, start

    place = home()
    _refuse_second(place, port)
    if data is not None:
        from cluster.checked_shop import open_checked

        data = open_checked(data.absolute(), progress=output.progress).path
    log = log_file(place)
    options = UpOptions(
        data=str(data) if data else None, port=port, profile=profile, seed=seed,
        parent_pid=None if detach else os.getpid(),
    )  # fmt: skip
    process = start(place, options, log)
    try:
        state = _await(output, place, process, log, wait_all=wait_all)
        output.answer(
            {"url": state.url, "routes": state.routes, "release": state.release, "missing": state.missing,
             "unfit": state.unfit, "shop_id": state.shop_id},
            _welcome(state, detached=detach),
        )  # fmt: skip
        if not detach and process.wait():
            raise ShopkeeperError(f"the system stopped by itself: see {log}")
    except BaseException:
        end_tree(process.pid)
        output.say("stopped; what was acknowledged is kept")
        raise


def _refuse_second(place: Home, port: int) -> None:
    from cluster.local.home_lock import already_running, is_held

    if is_held(place):
        raise ShopkeeperError(already_running(place))
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise InputError(
                Problem(field="--port", problem=f"port {port} is taken: {error.strerror}", found=str(port))
            ) from error


def _await(output: Output, place: Home, process: subprocess.Popen[bytes], log: Path, *, wait_all: bool) -> RunState:
    """Echo the supervisor's log until it serves (and, with `wait_all`, misses nothing that the shop can train)."""
    from cluster.local.run_state import load_run_state

    deadline_s = time.monotonic() + WAIT_ALL_S
    with open(log, encoding="utf-8", errors="replace") as lines:
        while True:
            for line in lines:
                output.say(line.rstrip("\n"))
            state = load_run_state(place)
            mine = state if state is not None and state.pid == process.pid else None
            if process.poll() is not None:
                raise _died(mine, process.returncode, log)
            if mine is not None and mine.ready and mine.release and not (wait_all and mine.awaited):
                return mine
            if wait_all and mine is not None and mine.ready and mine.error and mine.training is None:
                raise ShopkeeperError(f"{mine.error}; without --wait-all the shop is served as it is")
            if time.monotonic() > deadline_s:
                raise ShopkeeperError(f"not served within {WAIT_ALL_S / 60:.0f} minutes: see {log}")
            time.sleep(0.2)


def _died(state: RunState | None, code: int, log: Path) -> ShopkeeperError:
    cause = state.error if state and state.error else f"it ended with exit code {code}: see {log}"
    return InputError(cause) if state and state.exit_code == InputError.exit_code else ShopkeeperError(cause)


def _welcome(state: RunState, *, detached: bool) -> str:
    stop_by = "shopkeeper down" if detached else "Ctrl-C"
    missing = f"\nstill to train: {', '.join(state.awaited)}" if state.awaited else ""
    missing += "".join(f"\nnot trained: {job}: {why}" for job, why in state.unfit.items())
    routes = "\n".join(f"  {route}" for route in state.routes)
    return (
        f"{state.shop_id} is served at {state.url} (release {state.release}; stop with {stop_by})\n{routes}{missing}\n"
        f"docs: {state.url}/v1/docs\ntry:  {_example(state)}"
    )


def _example(state: RunState) -> str:
    """A question that the shop can answer."""
    if "recommender" not in state.unfit:
        ask = f'-d \'{{"user_id":"{state.some_user}"}}\''
        return f"curl -s {state.url}/v1/recommendations -H 'content-type: application/json' {ask}"
    if "vision" not in state.missing:
        return f"curl -s {state.url}/v1/visual-search -F image=@photo.jpg"
    return f"curl -s {state.url}/v1/models"
