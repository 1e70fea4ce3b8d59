"""What the kinds of index cost and find as the catalogue grows, beside FAISS called bare in the same run.

The vectors are drawn as those lie that the recommender learns on `--data`: it is trained first, or read of `--bundle`.
    python tests/bench/index_scale.py --data ../shared/data/recsys/amazon_beauty
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from learned_vectors import Mixture, learned
from record import Recording

from training.indexes.config import IndexConfig, Kind
from training.indexes.faiss_index import FaissIndex
from training.indexes.files import ROWS_FILE
from training.indexes.native import faiss
from training.indexes.registry import INDEXES, build_index

Floats = npt.NDArray[np.float32]
TOP, CENTRES = 100, 256
WARM_UP = 20
MACHINE_GIB = 256
"""Memory of one machine that the sum at the end assumes; a fifth of it is left to other things."""


def measure(
    kind: Kind, vectors_ND: Floats, queries_QD: Floats, best_QK: npt.NDArray[np.int64] | None
) -> dict[str, Any]:
    """Figures of one index; `best_QK` are the exact answers, None for the index that says them itself."""
    ids = [f"item-{n:08d}" for n in range(len(vectors_ND))]
    wall, cpu = time.monotonic(), time.process_time()
    index = build_index(ids, vectors_ND, IndexConfig(kind=kind))
    built = {"build_s": time.monotonic() - wall, "build_cpu_s": time.process_time() - cpu}
    padded_QD = np.pad(queries_QD, ((0, 0), (0, index.added_dims)))
    ours, wrapped, bare = timed(lambda one: index.search(one, TOP)[0][0], bare_search(index), queries_QD, padded_QD)
    structure, disk = on_disk(index)
    return {
        **{name: round(value, 2) for name, value in built.items()},
        "bytes_per_item_in_memory": round(structure / len(ids) + id_bytes(ids), 1),
        "bytes_per_item_of_faiss": round(structure / len(ids), 1),
        "bytes_per_item_on_disk": round(disk / len(ids), 1),
        "recall@100": 1.0 if best_QK is None else recall(ours, best_QK),
        **{name: round(value, 3) for name, value in wrapped.items()},
        "bare_p50_ms": round(bare["p50_ms"], 3), "bare_p99_ms": round(bare["p99_ms"], 3),
        "bare_p50_cpu_ms": round(bare["p50_cpu_ms"], 3),
        "times_bare": round(wrapped["p50_cpu_ms"] / bare["p50_cpu_ms"], 3),
        "upsert_of_one_ms": round(upsert_ms(index, vectors_ND), 3),
    }  # fmt: skip


def timed(
    search: Callable[[Floats], Any], bare: Callable[[Floats], Any], queries_QD: Floats, padded_QD: Floats
) -> tuple[list[Any], dict[str, float], dict[str, float]]:
    """Answers of the first, and times of both, in turn and on different queries: neither warms the other's caches."""
    answers, seconds = [], np.zeros((len(queries_QD), 4))
    for row in range(len(queries_QD)):
        other = row - len(queries_QD) // 2
        for column, asked, query_1D in ((0, search, queries_QD[row][None]), (2, bare, padded_QD[other][None])):
            wall, cpu = time.perf_counter(), time.thread_time()
            answer = asked(query_1D)
            seconds[row, column : column + 2] = time.perf_counter() - wall, time.thread_time() - cpu
            if column == 0:
                answers.append(answer)
    return answers, quantiles(seconds[WARM_UP:, :2]), quantiles(seconds[WARM_UP:, 2:])


def quantiles(seconds_Q2: npt.NDArray[np.float64]) -> dict[str, float]:
    """By the wall, and by CPU time, which leaves out what other processes took."""
    return {
        f"p{share}_{clock}": float(np.percentile(seconds_Q, share)) * 1e3
        for seconds_Q, clock in zip(seconds_Q2.T, ("ms", "cpu_ms"), strict=True)
        for share in (50, 99)
    }


def bare_search(index: FaissIndex) -> Callable[[Floats], Any]:
    """The same FAISS structure with the same settings, made beforehand; without ids, ties and filters."""
    config, rows = index.config, index._rows
    if index.kind == "exact":
        return lambda query_1D: rows.search(query_1D, TOP)
    if index.kind == "hnsw":
        kept = faiss.SearchParametersHNSW(efSearch=config.hnsw_ef_search)
        return lambda query_1D: rows.search(query_1D, TOP, params=kept)
    lists = faiss.SearchParametersIVF(nprobe=config.ivf_nprobe)
    refined = faiss.IndexRefineSearchParameters(k_factor=config.refine_factor, base_index_params=lists)
    return lambda query_1D: rows.search(query_1D, TOP, params=refined)


def recall(found: Sequence[Any], best_QK: npt.NDArray[np.int64]) -> float:
    return round(float(np.mean([len(np.intersect1d(a, b)) / TOP for a, b in zip(found, best_QK, strict=True)])), 4)


def upsert_ms(index: FaissIndex, vectors_ND: Floats) -> float:
    """The median of 20 new items, one at a time, after one that pays for the growing."""
    index.upsert(["new"], vectors_ND[:1])
    seconds = []
    for number in range(20):
        begun = time.thread_time()
        index.upsert([f"new-{number}"], vectors_ND[number : number + 1])
        seconds.append(time.thread_time() - begun)
    return float(np.median(seconds)) * 1e3


def on_disk(index: FaissIndex) -> tuple[int, int]:
    """Bytes of what FAISS holds, the same in memory, and of all files."""
    with tempfile.TemporaryDirectory() as folder:
        index.save(Path(folder))
        sizes = {path.name: path.stat().st_size for path in Path(folder).iterdir()}
    return sizes[ROWS_FILE], sum(sizes.values())


def id_bytes(ids: Sequence[str]) -> float:
    """An id as Python holds it, in a list and a dict, and the row, slot and mark of its vector."""
    return (sys.getsizeof(dict.fromkeys(ids)) + sum(map(sys.getsizeof, ids))) / len(ids) + 8 + 8 + 8 + 1


def slope(figures: dict[int, dict[str, Any]], name: str) -> float | None:
    """Of log(figure) against log(items); None where one size alone was measured, or a figure is nothing."""
    if len(figures) < 2 or not all(said[name] for said in figures.values()):
        return None
    sizes = np.log(np.array(list(figures), np.float64))
    return round(float(np.polyfit(sizes, np.log([said[name] for said in figures.values()]), 1)[0]), 3)


def machines(figures: dict[int, dict[str, Any]], items: int = 10**9) -> dict[str, Any]:
    """How many machines so many items need, by the bytes of the largest index measured."""
    each = figures[max(figures)]["bytes_per_item_in_memory"]
    room = 0.8 * MACHINE_GIB * 2**30
    return {
        "bytes_per_item": each, "machine_gib": MACHINE_GIB, "usable_share": 0.8,
        "machines": int(np.ceil(items * each / room)),
    }  # fmt: skip


def run(items: Mixture, users: Mixture, sizes: dict[Kind, Sequence[int]], queries: int) -> Iterator[dict[str, Any]]:
    """Every kind at its sizes, smallest first; all that is known so far, after each size."""
    queries_QD = users.draw(queries, seed=2)
    figures: dict[str, dict[int, dict[str, Any]]] = {kind: {} for kind in sizes}
    for size in sorted({size for wanted in sizes.values() for size in wanted}):
        vectors_ND = items.draw(size, seed=1)
        _, best_QK = faiss.knn(queries_QD, vectors_ND, TOP, faiss.METRIC_INNER_PRODUCT)
        for kind in (kind for kind, wanted in sizes.items() if size in wanted):
            figures[kind][size] = measure(kind, vectors_ND, queries_QD, None if kind == "exact" else best_QK)
            print(kind, size, figures[kind][size], flush=True)
        yield {kind: summary(said) for kind, said in figures.items() if said}


def summary(by_items: dict[int, dict[str, Any]]) -> dict[str, Any]:
    names = ("build_cpu_s", "p50_cpu_ms", "p99_cpu_ms")
    return {
        "by_items": dict(by_items),
        "slope_against_items": {name: slope(by_items, name) for name in names},
        "a_billion_items": machines(by_items),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a shop, or a folder of the amazon-sequences format")
    parser.add_argument("--bundle", type=Path, help="a recommender of that shop; by default one is trained")
    parser.add_argument("--epochs", type=int, default=5, help="of that training")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--ivf-pq-only", type=int, nargs="*", default=[10_000_000])
    parser.add_argument("--without-graph-above", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--name", default="index_scale", help="of the recorded result")
    options = parser.parse_args()
    faiss.omp_set_num_threads(1)
    recording, load_before = Recording(options.name, seeds=[1, 2]), os.getloadavg()[0]
    found = learned(options.data, options.bundle, epochs=options.epochs)
    items, users = Mixture.fitted(found.items_ID, CENTRES), Mixture.fitted(found.users_UD, CENTRES)
    sizes: dict[Kind, Sequence[int]] = {kind: list(options.sizes) for kind in INDEXES}
    sizes["hnsw"] = [size for size in options.sizes if size <= options.without_graph_above]
    sizes["ivf_pq"] = [*options.sizes, *options.ivf_pq_only]
    for figures in run(items, users, sizes, options.queries):
        recording.write({
            "vectors": f"{CENTRES} Gaussians fitted to {found}; one thread; top {TOP}",
            "times_bare": "CPU time of the median query over that of FAISS with the same structure and settings",
            "load_average": [load_before, os.getloadavg()[0]],
            "peak_resident_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "config": IndexConfig().model_dump(),
            **figures,
        })  # fmt: skip


if __name__ == "__main__":
    main()
