"""Two workers at one thread each against one: examples a second, and where the time of a step goes.

The workers are gloo processes as Ray Train starts them, without Ray around them, which takes no part in a step.
    python tests/bench/two_workers.py --data ../shared/data/recsys/amazon_beauty
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from record import Recording
from torch import distributed

from training.contracts.progress import NoProgress
from training.contracts.shop import Shop
from training.datasets.registry import DATASETS
from training.jobs.job import LocalReport
from training.jobs.recommender import RecommenderConfig, RecommenderData, load
from training.jobs.transformer_training import TransformerTraining
from training.jobs.workers import Workers
from training.models.sequence_transformer import TransformerConfig

EPOCHS = 2  # the first one is not counted
WORKERS = (1, 2)
SETTINGS: dict[str, dict[str, Any]] = {
    "full softmax": {},
    "sampled softmax, all rows on each worker": {"full_softmax_items": 0, "sharded_items": None},
    "sampled softmax, rows dealt over the workers": {"full_softmax_items": 0, "sharded_items": 0},
    "full softmax, four times as many tokens a step": {"tokens_per_step": 3680},
}
PARTS = ("compute_ms_per_step", "transfer_ms_per_step", "waiting_ms_per_step", "sent_kb_per_step")


def train(data: RecommenderData, settings: dict[str, Any], workers: Workers, scratch: Path) -> dict[str, float]:
    """Means over the epochs after the first: examples a second of all workers, and the parts of a step."""
    config = RecommenderConfig.model_validate({"epochs": EPOCHS, "patience": EPOCHS, "max_train_s": 3600, **settings})
    training = TransformerTraining(
        config.transformer, config, data.split, len(data.vocabulary),
        seed=0, workers=workers, repeats=data.repeats, content=None,
    )  # fmt: skip
    training.run(lambda _: float(training.course.epoch), LocalReport(scratch / str(workers.rank)), NoProgress())
    counted = training.course.curve[1:]
    return {part: mean(line[part] for line in counted) for part in ("examples_per_s", "tokens_per_cpu_s", *PARTS)}


def work(store: str, rank: int, size: int, shop: Path, scratch: Path) -> None:
    """One worker: every setting after the other, the results of rank 0 printed."""
    torch.set_num_threads(1)
    if size > 1:
        distributed.init_process_group("gloo", store=distributed.FileStore(store, size), rank=rank, world_size=size)
    workers, data = Workers(), load(Shop(shop), RecommenderConfig())
    found = {name: train(data, settings, workers, scratch / name) for name, settings in SETTINGS.items()}
    if rank == 0:
        print(json.dumps(found))


def measure(size: int, shop: Path, scratch: Path) -> dict[str, dict[str, float]]:
    """Every setting with `size` workers."""
    begin = [sys.executable, __file__, "--work", f"{scratch}/store-{size}"]
    running = [
        subprocess.Popen(
            [*begin, str(rank), str(size), str(shop), str(scratch / f"of-{size}")],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for rank in range(size)
    ]  # fmt: skip
    said = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise SystemExit("a worker failed")
    found: dict[str, dict[str, float]] = json.loads(said[0].splitlines()[-1])
    return found


def rate(count: float, action: Any, *, seconds: float = 1.0) -> float:
    """`count` for each call of `action`, a second."""
    action()
    calls, begun_s = 0, time.perf_counter()
    while time.perf_counter() - begun_s < seconds:
        action()
        calls += 1
    return calls * count / (time.perf_counter() - begun_s)


def limits(items: int, dim: int) -> dict[str, float]:
    """What one thread of this machine does at most: products of the softmax's shape, and copies larger than caches."""
    torch.set_num_threads(1)
    x_CD, items_ID = torch.randn(256, dim).bfloat16(), torch.randn(items, dim).bfloat16()
    logits_CI, large = torch.empty(256, items, dtype=torch.bfloat16), torch.zeros(64 << 20)
    other = torch.empty_like(large)
    return {
        "bf16_gflop_per_s": rate(2e-9 * 256 * items * dim, lambda: torch.mm(x_CD, items_ID.t(), out=logits_CI)),
        "exp_giga_per_s": rate(1e-9 * 256 * items, lambda: logits_CI.zero_().exp_()),
        "copy_gb_per_s": rate(2e-9 * large.numel() * 4, lambda: other.copy_(large)),
    }


def step_of(shop: Path, found: dict[str, float]) -> dict[str, float]:
    """Operations and bytes of a step of the full softmax by hand, and the time they need at the machine's limits."""
    config = RecommenderConfig()
    data, dim = load(Shop(shop), config), TransformerConfig().dim
    items, step_s = len(data.vocabulary), found["compute_ms_per_step"] / 1e3
    pairs, tokens = found["examples_per_s"] * step_s, config.tokens_per_step
    softmax_gflop = 6e-9 * pairs * items * dim  # logits, and the gradients of both sides
    block_gflop = 6e-9 * tokens * 6 * dim**2
    # Of bf16 logits: written, exponentiated in place, summed, read by two products.
    logits_gb = 6 * 2e-9 * pairs * items
    most = limits(items, dim)
    least_s = (softmax_gflop + block_gflop) / most["bf16_gflop_per_s"] + 1e-9 * pairs * items / most["exp_giga_per_s"]
    return {
        "pairs": pairs, "softmax_gflop": softmax_gflop, "block_gflop": block_gflop, "logits_gb_in_caches": logits_gb,
        "step_ms": 1e3 * step_s, "step_ms_at_the_limits": 1e3 * least_s, "share_of_the_limit": least_s / step_s, **most,
    }  # fmt: skip


def main() -> None:
    if sys.argv[1:2] == ["--work"]:
        store, rank, size, shop, scratch = sys.argv[2:]
        work(store, int(rank), int(size), Path(shop), Path(scratch))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder of the amazon-sequences format")
    options = parser.parse_args()
    recording = Recording("two_workers", seeds=[0])
    with tempfile.TemporaryDirectory() as folder:
        shop, scratch = Path(folder) / "shop", Path(folder)
        DATASETS["amazon-sequences"].read(options.data, shop, force=False, progress=NoProgress())
        load_before = os.getloadavg()[0]
        found = {size: measure(size, shop, scratch) for size in WORKERS}
        step = step_of(shop, found[1]["full softmax"])
    recording.write({
        "load_average_before": load_before, "load_average_after": os.getloadavg()[0],
        **{
            name: {
                **{f"{size} workers" if size > 1 else "1 worker": found[size][name] for size in WORKERS},
                "examples_per_s_over_one_worker": found[2][name]["examples_per_s"] / found[1][name]["examples_per_s"],
            }
            for name in SETTINGS
        },
        "a step of the full softmax on one thread": step,
    })  # fmt: skip


if __name__ == "__main__":
    main()
