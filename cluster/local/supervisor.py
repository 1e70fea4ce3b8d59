"""The process behind `shopkeeper up`: prepares the shop, starts Ray and Serve, trains what is missing, reports.

Run as `python -m cluster.local.supervisor OPTIONS_JSON`; writes its state to `run/state.json` of the home.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

import httpx
import psutil
from pydantic import BaseModel, ConfigDict

from cluster.home import Home, home
from cluster.local.background import BackgroundProcess, draw_in_background, train_in_background
from cluster.local.home_lock import hold_home
from cluster.local.ray_session import start_ray
from cluster.local.run_state import RunState
from cluster.local.serve_status import deployment_states
from cluster.local.usage import UsageMeter
from cluster.output import cause_of
from cluster.progress import watch
from training.contracts.errors import InputError, ShopkeeperError
from training.contracts.shop import Shop

TICK_S, POLL_S = 2.0, 0.5
START_DEADLINE_S = 600.0
SAMPLE = "sample"


class UpOptions(BaseModel):
    """What `up` was asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    profile: str = "small"
    seed: int = 0
    parent_pid: int | None = None


class Supervisor:
    """Owns the Ray cluster of one home from start to stop."""

    def __init__(self, home: Home, options: UpOptions) -> None:
        self.home, self.options = home, options
        self.trainer: BackgroundProcess | None = None
        self.painter: BackgroundProcess | None = None
        self.usage, self.progress = UsageMeter(os.getpid()), watch(sys.stderr)
        self.failed_jobs: set[str] = set()
        self.first_failure: ShopkeeperError | None = None
        self.state = RunState(pid=os.getpid(), phase="starting", url=self.url, shop_id="", shop="")

    @property
    def url(self) -> str:
        return f"http://{self.options.host}:{self.options.port}"

    def run(self) -> None:
        """Until told to stop; whatever ends it is in the state file."""
        with hold_home(self.home):
            try:
                self._save(phase="preparing")
                shop = self._shop()
                self._save(shop_id=shop.info.shop_id, shop=str(shop.path), some_user=_some_user(shop))
                self._start_training(shop)
                self._serve(shop)
                self._watch(shop)
            except SystemExit:
                self._save(phase="stopped", error=None)
                raise
            except Exception as error:
                self._save(phase="failed", error=cause_of(error), exit_code=getattr(error, "exit_code", 1))
                raise
            finally:
                self._stop()

    def _shop(self) -> Shop:
        """The shop asked for, or the sample, drawn on first use."""
        if self.options.data is not None:
            return Shop(self.options.data)
        seed = self.options.seed
        path = self.home.shop(f"{SAMPLE}-small-{seed}" if seed else SAMPLE)
        if not path.is_dir():
            from training.datasets.sample import generate

            generate(path, size="small", seed=seed, images=False, progress=self.progress)
            self.progress.stage("")
        return Shop(path)

    def _untrained(self, shop: Shop) -> list[str]:
        """Jobs this version has, without a champion for this shop; a job stands after those it builds on."""
        from training.bundles.registry import Registry
        from training.jobs.registry import JOBS

        champion = Registry(self.home.releases, shop.info.shop_id).get("champion")
        return [job for job in JOBS if champion is None or job not in champion.jobs]

    def _start_training(self, shop: Shop) -> None:
        """Train the first job without a champion that has not failed yet."""
        self._pass_over_unfit(shop)
        waiting = [job for job in self._untrained(shop) if job not in self.failed_jobs]
        if self.trainer is not None or not waiting:
            return
        print(f"training {waiting[0]} on {shop.path}", file=sys.stderr, flush=True)
        self.trainer = train_in_background(waiting[0], shop.path, answer=self.home.run / f"train-{waiting[0]}.json")
        self._save(phase="serving" if self.state.phase == "serving" else "training", training=waiting[0])

    def _pass_over_unfit(self, shop: Shop) -> None:
        """Note the jobs that the shop has no table for; where it has none at all, the first job's own error is said."""
        from training.jobs.registry import TABLES

        lacking = [job for job in self._untrained(shop) if not shop.has(TABLES[job])]
        if len(lacking) == len(TABLES):
            return
        self.failed_jobs.update(lacking)
        self._save(unfit={**{job: f"the shop has no {TABLES[job]} table" for job in lacking}, **self.state.unfit})

    def _reap_training(self, shop: Shop) -> None:
        """Note how a finished training ended and start the next; raises where nothing can be served."""
        if self.trainer is None or self.trainer.ended() is None:
            return
        finished, self.trainer = self.trainer, None
        self._save(training=None)
        if finished.ended():
            self._note_failure(finished.label, finished.failure(), shop)
        self._start_training(shop)

    def _note_failure(self, job: str, failure: ShopkeeperError, shop: Shop) -> None:
        """Raises the first one where there is nothing to serve, or a recommender that should be there cannot be had."""
        from training.jobs.registry import JOBS, TABLES

        self.failed_jobs.add(job)
        self.first_failure = self.first_failure or failure
        untrained, unfit = self._untrained(shop), isinstance(failure, InputError)
        left = [other for other in untrained if other not in self.failed_jobs and shop.has(TABLES[other])]
        if (job == "recommender" and not unfit) or (len(untrained) == len(JOBS) and not left):
            raise self.first_failure
        if unfit:
            self._save(unfit={**self.state.unfit, job: str(failure)})
        else:
            self._save(error=f"training {job}: {failure}")

    def _serve(self, shop: Shop) -> None:
        """Import the shop into state, start Ray and Serve, and wait until something is answered."""
        from cluster.local.application import run_application
        from training.jobs.registry import JOBS

        address = start_ray(self.home, cpus=max(2, os.cpu_count() or 2))
        self._save(ray_address=address)
        run_application(
            self.home, shop, self.options.profile,
            host=self.options.host, port=self.options.port, progress=self.progress,
        )  # fmt: skip
        deadline_s = time.monotonic() + START_DEADLINE_S
        while not self._ready():
            self._reap_training(shop)
            if self.trainer is not None and len(self._untrained(shop)) == len(JOBS):
                deadline_s = time.monotonic() + START_DEADLINE_S
            elif time.monotonic() > deadline_s:
                raise ShopkeeperError(f"nothing is answered after {START_DEADLINE_S:.0f} s: see {self.home.run}")
            if self._orphaned():
                return
            time.sleep(POLL_S)
        self._save(phase="serving", ready=True, routes=self._routes(), missing=self._missing(shop, self._readiness()))

    def _watch(self, shop: Shop) -> None:
        """Keep the state file true until told to stop."""
        if self.options.data is None:
            self.painter = draw_in_background(shop.path)
        while not self._orphaned():
            self._reap_training(shop)
            said = self._readiness()
            self._save(
                ready=self._is_ready(said),
                missing=self._missing(shop, said),
                release=said.get("release", self.state.release),
                deployments=deployment_states(said.get("deployments", [])),
                usage=self.usage.read(),
            )
            time.sleep(TICK_S)

    def _ready(self) -> bool:
        return self._is_ready(self._readiness())

    def _is_ready(self, said: dict[str, Any]) -> bool:
        """Whether recommendations are answered; of a shop that is unfit for them, whatever it has."""
        from training.jobs.registry import JOBS

        if "recommender" not in self.state.unfit:
            return bool(said.get("ready"))
        return not set(JOBS) <= set(said.get("missing", JOBS))

    def _routes(self) -> list[str]:
        document = httpx.get(f"{self.url}/v1/openapi.json", timeout=10).json()
        return [f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods]

    def _readiness(self) -> dict[str, Any]:
        """What GET /readyz says of the system; nothing where it does not answer, or with another problem."""
        try:
            said = dict(httpx.get(f"{self.url}/readyz", timeout=5).json())
        except (httpx.HTTPError, ValueError):
            return {}
        return said if "missing" in said else {}

    def _missing(self, shop: Shop, said: dict[str, Any]) -> list[str]:
        """Jobs that are not trained, or not served yet; `said` is what /readyz says."""
        from training.jobs.registry import JOBS

        return list(dict.fromkeys([*self._untrained(shop), *(job for job in said.get("missing", []) if job in JOBS)]))

    def _orphaned(self) -> bool:
        """Whether the `up` in whose terminal this runs is gone."""
        parent = self.options.parent_pid
        return parent is not None and not psutil.pid_exists(parent)

    def _stop(self) -> None:
        for process in (self.trainer, self.painter):
            if process is not None:
                process.stop()
        if "ray" in sys.modules:
            import ray

            ray.shutdown()

    def _save(self, **changes: Any) -> None:
        self.state = self.state.model_copy(update=changes)
        self.state.save(self.home)


def _some_user(shop: Shop) -> str:
    """A user with a history, for the example that `up` prints."""
    first = next(shop.batches("events", ["user_id"], rows=1), None)
    return str(first["user_id"][0].as_py()) if first is not None and len(first) else "anybody"


def main(arguments: list[str]) -> int:
    """Run one supervisor; the exit code is that of the failure, 0 when it was told to stop."""
    options = UpOptions.model_validate_json(arguments[0])
    supervisor = Supervisor(home(), options)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, _leave)
    try:
        supervisor.run()
    except ShopkeeperError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    except Exception as error:
        told = supervisor.home.run / "traceback.txt"
        told.write_text(traceback.format_exc(), encoding="utf-8")
        print(f"error: {cause_of(error)} (traceback in {told})", file=sys.stderr, flush=True)
        return 1
    return 0


def _leave(*_: object) -> NoReturn:
    """Leave once, through every `finally`."""
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, signal.SIG_IGN)
    sys.exit(0)


def command_line(options: UpOptions) -> list[str]:
    """How `up` starts this module."""
    return [sys.executable, "-m", "cluster.local.supervisor", options.model_dump_json()]


def start(home: Home, options: UpOptions, log: Path) -> subprocess.Popen[bytes]:
    """A supervisor in a session of its own, holding none of the caller's pipes."""
    home.run.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as file:
        return subprocess.Popen(
            command_line(options),
            stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True,
            env={**os.environ, "SHOPKEEPER_HOME": str(home.root), "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
