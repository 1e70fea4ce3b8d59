"""`train ranker` on several gloo workers without Ray: `run` starts them, each a process of this module."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import distributed

from tests.gloo_workers import SharedReport
from training.contracts.errors import ShopkeeperError
from training.contracts.shop import Shop
from training.jobs.ranker import JOB, RankerConfig
from training.jobs.ranker_data import RankerData
from training.jobs.ranker_fitting import Fitting


class Watching(Fitting):
    """Notes what each worker drew and saw."""

    seen: ClassVar[list[dict[str, Any]]] = []

    def _batches(self, epoch: int) -> Any:
        for slates_B, choices_B in super()._batches(epoch):
            Watching.seen.append({"slates": slates_B.tolist(), "choices": choices_B.tolist()})
            yield slates_B, choices_B

    def _step(self, loss: Any, loss_1: Any) -> str | None:
        own, fault = float(loss_1), super()._step(loss, loss_1)
        Watching.seen[-1] |= {"own": own, "loss": float(loss_1), "norm": float(self.moved[0].norm())}
        return fault


def run(shop: Shop, config: RankerConfig, folder: Path, workers: int) -> list[dict[str, Any]]:
    """What each rank says of its fit."""
    folder.mkdir()
    asked = json.dumps({"shop": str(shop.path), "config": config.model_dump(mode="json")})
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.ranker_workers", str(folder), str(rank), str(workers), asked],
            stderr=subprocess.PIPE, text=True,
        )
        for rank in range(workers)
    ]  # fmt: skip
    said = [process.communicate(timeout=240)[1] for process in running]
    assert not any(process.returncode for process in running), "\n".join(said)
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in range(workers)]


def fitted(config: RankerConfig, data: RankerData, folder: Path, rank: int) -> dict[str, Any]:
    out = folder / f"bundle-{rank}"
    try:
        result = JOB.fit(config, data, SharedReport(folder / "checkpoints", rank), out)
    except ShopkeeperError as error:
        return {"error": str(error)}
    return {"metrics": result.metrics, "wrote": out.exists(), "steps": Watching.seen}


def main(folder: Path, rank: int, size: int, asked: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    store = distributed.FileStore(str(folder / "store"), size)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=size)
    sys.modules["training.jobs.ranker_training"].Fitting = Watching  # type: ignore[attr-defined]
    config = RankerConfig.model_validate(asked["config"])
    told = fitted(config, JOB.load(Shop(asked["shop"]), config), folder, rank)
    (folder / f"rank-{rank}.json").write_text(json.dumps(told))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4]))
