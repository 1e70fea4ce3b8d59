"""CPU time until the best published test NDCG@10 on Beauty (.0531, item ids only): ours and RecTools' SASRec.

Both are asked after every epoch, outside the timed part, for their NDCG@10 on test over the whole catalogue; the target
is reached at the first epoch that has it. Ours counts everything before that epoch's end: reading the shop, encoding
the texts where the config reads them, training, validation. Theirs counts training epochs alone. RecTools is slow, so
its run ends at a cap: where it has not reached the target by then, its CPU time is a lower bound, and so is the ratio.

    python tests/bench/time_to_target.py --data ../shared/data/recsys/amazon_beauty --rectools-lines LINES.jsonl

LINES.jsonl keeps RecTools' epochs: it is measured first where the file is not there yet.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from record import Recording
from rectools_speed import SIZES, rectools_python

from training.contracts.progress import NoProgress
from training.contracts.shop import Shop
from training.datasets.registry import DATASETS
from training.jobs.evaluation import selection_score
from training.jobs.item_texts import CACHE_VARIABLE
from training.jobs.job import LocalReport
from training.jobs.recommender import RecommenderConfig, judge_of, load, transformer_training
from training.models.retriever import Retriever

TARGET = 0.0531
TIMED_EPOCHS = 3
THEIRS = {**SIZES, "loss": "softmax", "negatives": 1, "seed": 0, "target": TARGET}


class ReachedError(Exception):
    """The target: nothing more is to be measured."""


class Stopwatch:
    """CPU seconds of this process since it was made, without those that are left out."""

    def __init__(self) -> None:
        self._begun_s, self._left_out_s = time.process_time(), 0.0

    @property
    def cpu_s(self) -> float:
        return time.process_time() - self._begun_s - self._left_out_s

    def leave_out_since(self, cpu_s: float) -> None:
        self._left_out_s += self.cpu_s - cpu_s


def ours(shop: Shop, config: RecommenderConfig, scratch: Path) -> dict[str, Any]:
    """Every epoch until the target; `prepare_cpu_s` is what came before the first step."""
    os.environ[CACHE_VARIABLE] = str(scratch / "cache")  # an empty one: the texts are encoded in the timed part
    watch = Stopwatch()
    data = load(shop, config)
    training, judge = transformer_training(config, data, NoProgress()), judge_of(config, data)
    prepare_cpu_s, epochs = watch.cpu_s, []

    def judged(retriever: Retriever) -> float:
        score = judge(retriever)
        cpu_s = watch.cpu_s
        test = selection_score(retriever.score, data.split.test, len(data.vocabulary), repeats=data.repeats)
        watch.leave_out_since(cpu_s)
        epochs.append({"epoch": len(epochs) + 1, "cpu_s": cpu_s, "validation_ndcg@10": score, "test_ndcg@10": test})
        print(json.dumps(epochs[-1]), flush=True)
        if test >= TARGET:
            raise ReachedError
        return score

    with suppress(ReachedError):
        training.run(judged, LocalReport(scratch / "checkpoints"), NoProgress())
    last = epochs[-1]
    return {
        "reached": last["test_ndcg@10"] >= TARGET, "epochs_to_target": last["epoch"], "cpu_s": last["cpu_s"],
        "prepare_cpu_s": prepare_cpu_s, "epochs": epochs,
    }  # fmt: skip


def measure_rectools(python: Path, sequences: Path, lines: Path, cap_cpu_s: float) -> None:
    """Fill `lines`; takes the cap and what the evaluations cost, on one thread."""
    script, settings = Path(__file__).with_name("rectools_epochs.py"), {**THEIRS, "cap_cpu_s": cap_cpu_s}
    subprocess.run([str(python), str(script), str(sequences), json.dumps(settings), str(lines)], check=True)


def theirs(lines: Path) -> dict[str, Any]:
    epochs = [json.loads(line) for line in lines.read_text().splitlines()]
    timed = [epoch["cpu_s"] for epoch in epochs[:TIMED_EPOCHS]]
    return {
        "sizes": THEIRS,
        "reached": epochs[-1]["test_ndcg@10"] >= TARGET,
        "epochs_run": len(epochs),
        "cpu_s": sum(epoch["cpu_s"] for epoch in epochs),
        "three_epochs_cpu_s": timed,
        "epochs": epochs,
    }


def compared(runs: Sequence[dict[str, Any]], rectools: dict[str, Any]) -> dict[str, Any]:
    assert all(run["reached"] for run in runs), "a run of ours ended below the target: there is no time to it"
    mean_cpu_s = sum(run["cpu_s"] for run in runs) / len(runs)
    return {
        "target_test_ndcg@10": TARGET,
        "ours_cpu_s": {
            "mean": mean_cpu_s, "least": min(run["cpu_s"] for run in runs), "most": max(run["cpu_s"] for run in runs),
        },
        "rectools_cpu_s": rectools["cpu_s"],
        "rectools_is_lower_bound": not rectools["reached"],
        "ratio": rectools["cpu_s"] / mean_cpu_s,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder of the amazon-sequences format")
    parser.add_argument("--config", type=Path, default=Path("configs/training/recommender-beauty.yaml"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rectools-lines", type=Path, required=True, help="RecTools' epochs, measured where absent")
    parser.add_argument("--rectools-python", type=Path, help="an interpreter with RecTools, instead of a fresh venv")
    parser.add_argument("--rectools-only", action="store_true", help="measure RecTools' epochs and end")
    parser.add_argument("--cap-cpu-s", type=float, default=6000.0, help="of RecTools' run")
    options = parser.parse_args()
    seeds = list(range(options.seeds))
    recording = Recording("time_to_target", seeds=seeds)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if not options.rectools_lines.is_file():
            python = options.rectools_python or rectools_python(scratch / "venv")
            measure_rectools(python, options.data / "Beauty.txt", options.rectools_lines, options.cap_cpu_s)
        if options.rectools_only:
            return
        DATASETS["amazon-sequences"].read(options.data, scratch / "shop", force=False, progress=NoProgress())
        config = RecommenderConfig.model_validate(yaml.safe_load(options.config.read_text()) or {})
        rectools, runs = theirs(options.rectools_lines), []
        for seed in seeds:  # recorded after each, so that a run that is ended early has shown something
            runs.append(
                ours(Shop(scratch / "shop"), config.model_copy(update={"seed": seed}), scratch / f"seed-{seed}")
            )
            recording.seeds = seeds[: len(runs)]
            recording.write({
                **compared(runs, rectools), "config": config.model_dump(mode="json"), "ours": runs,
                "rectools": rectools,
            })  # fmt: skip


if __name__ == "__main__":
    main()
