"""A large item table: memory for each row, bytes of a step, and time of a step against the machine's memory bandwidth.

No GPU is needed; where there is none, nothing is said about one.
    python tests/bench/sharded_embeddings.py
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
from typing import Any

import numpy as np
import psutil
import torch
from record import Recording
from torch import distributed

from training.jobs.row_optimizers import LazyAdamW, RowOptimizer, RowwiseAdagrad
from training.jobs.sharded_embedding import ShardedEmbedding
from training.jobs.workers import Workers

ROWS, DIM, TOUCHED, STEPS = 4_000_000, 64, 4096, 100
OPTIMIZERS = ("rowwise_adagrad", "adamw")
FLOAT = 4


def table(rows: int, optimizer: str, workers: Workers) -> ShardedEmbedding:
    def make(own: int) -> RowOptimizer:
        if optimizer == "adamw":
            return LazyAdamW(own, DIM, learning_rate=0.002, weight_decay=0.01, device=workers.device)
        return RowwiseAdagrad(own, learning_rate=0.05, device=workers.device)

    return ShardedEmbedding(rows, DIM, workers=workers, dealt=True, seed=0, optimizer=make)


def steps(found: ShardedEmbedding, rank: int) -> dict[str, float]:
    """Mean step of reading TOUCHED rows and updating them, codes drawn evenly: no row is in a cache."""
    rng, size = np.random.default_rng(rank), found.workers.size
    drawn = [torch.from_numpy(np.unique(rng.integers(found.rows, size=TOUCHED))) for _ in range(STEPS + 5)]
    begun_s, cpu_s = 0.0, 0.0
    for step, codes_K in enumerate(drawn):
        if step == 5:
            found.workers.times(0.0)
            begun_s, cpu_s = time.perf_counter(), time.process_time()
        rows_KD = found(codes_K)
        rows_KD.grad = torch.full_like(rows_KD, 1e-3)
        found.step()
    wall_s, used_s = time.perf_counter() - begun_s, time.process_time() - cpu_s
    state_bytes = sum(tensor[0].numel() * FLOAT for tensor in found.optimizer.state.values())
    # Each row is read for the forward pass; then it and its state are read and written, and so is its gradient.
    touched_bytes = TOUCHED * (DIM * FLOAT * (2 + 2 + 2) + 2 * state_bytes)
    return {
        "workers": float(size),
        "bytes_per_row": DIM * FLOAT + state_bytes,
        "rows_of_a_worker": float(len(found.weight_RD)),
        "touched_bytes_per_step": float(touched_bytes),
        "step_ms": 1e3 * wall_s / STEPS,
        "cpu_ms_per_step": 1e3 * used_s / STEPS,
        "gb_per_s": 1e-9 * touched_bytes * STEPS / wall_s,
        **found.workers.times(wall_s).by_step(STEPS),
    }


def work(store: str, rank: int, size: int, rows: int) -> None:
    torch.set_num_threads(1)
    if size > 1:
        distributed.init_process_group("gloo", store=distributed.FileStore(store, size), rank=rank, world_size=size)
    workers, found = Workers(), {}
    for optimizer in OPTIMIZERS:
        before = psutil.Process().memory_info().rss
        built = table(rows, optimizer, workers)
        result = steps(built, rank)
        grown = psutil.Process().memory_info().rss - before
        found[optimizer] = {**result, "resident_bytes_per_row": grown / len(built.weight_RD)}
        del built
    if rank == 0:
        print(json.dumps(found))


def measure(size: int, rows: int, scratch: Path) -> dict[str, Any]:
    begin = [sys.executable, __file__, "--work", f"{scratch}/store-{size}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen([*begin, str(rank), str(size), str(rows)], stdout=subprocess.PIPE, text=True, env=environment)
        for rank in range(size)
    ]
    said = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise SystemExit("a worker failed")
    found: dict[str, Any] = json.loads(said[0].splitlines()[-1])
    return found


def bandwidth() -> dict[str, float]:
    """Of one thread: a copy larger than the caches, and single rows of the table's width from everywhere."""
    torch.set_num_threads(1)
    large = torch.zeros(1_000_000, DIM)
    other, places = torch.empty_like(large), torch.randint(len(large), (200_000,))
    copied, gathered = _best_s(lambda: other.copy_(large)), _best_s(lambda: large[places])
    return {
        "copy_gb_per_s": 2e-9 * large.numel() * FLOAT / copied,
        "gather_gb_per_s": 2e-9 * len(places) * DIM * FLOAT / gathered,
    }


def _best_s(action: Any) -> float:
    seconds = []
    for _ in range(10):
        begun_s = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - begun_s)
    return min(seconds)


def main() -> None:
    if sys.argv[1:2] == ["--work"]:
        store, rank, size, rows = sys.argv[2:]
        work(store, int(rank), int(size), int(rows))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    options = parser.parse_args()
    recording, load_before = Recording("sharded_embeddings", seeds=[0]), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        found = {f"{size} workers": measure(size, options.rows, Path(folder)) for size in (1, 2)}
    limits = bandwidth()
    for results in found.values():
        for result in results.values():
            result["share_of_copy_bandwidth"] = result["gb_per_s"] / limits["copy_gb_per_s"]
    recording.write({
        "rows": options.rows, "dim": DIM, "rows_touched_by_a_worker_per_step": TOUCHED,
        "device": "cpu, one thread a worker; untried on a GPU: none was at hand",
        "load_average_before": load_before, "load_average_after": os.getloadavg()[0], "machine_limits": limits, **found,
    })  # fmt: skip


if __name__ == "__main__":
    main()
