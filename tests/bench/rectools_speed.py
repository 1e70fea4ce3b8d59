"""CPU time per epoch: this recommender against RecTools' SASRec, same loss, negatives, sizes, data and machine.

RecTools needs numpy < 2, so it gets a throwaway virtual environment of its own:
    python tests/bench/rectools_speed.py --data ../shared/data/recsys/amazon_beauty
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from record import Recording

from training.contracts.progress import NoProgress
from training.contracts.shop import Shop
from training.datasets.registry import DATASETS
from training.jobs.job import LocalReport
from training.jobs.registry import JOBS

SIZES = {
    "width": 64,
    "blocks": 2,
    "heads": 2,
    "max_length": 50,
    "dropout": 0.2,
    "epochs": 3,
    "threads": 1,
    "batch_users": 128,
}
LOSSES = {
    "full softmax": {"loss": "softmax", "negatives": 1},
    "sampled softmax, 512 negatives": {"loss": "sampled_softmax", "negatives": 512},
}


def rectools_python(folder: Path) -> Path:
    """The interpreter of a fresh virtual environment that holds RecTools."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "-q", "torch==2.13.0", "rectools[torch]==0.19.0"], check=True)
    return python


def theirs(python: Path, sequences: Path, settings: dict[str, Any]) -> float:
    """CPU seconds an epoch of RecTools' SASRec."""
    script = Path(__file__).with_name("rectools_sasrec.py")
    done = subprocess.run(
        [str(python), str(script), str(sequences), json.dumps(settings)], check=True, capture_output=True, text=True
    )
    measured = json.loads(done.stdout.strip().splitlines()[-1])
    return float(measured["cpu_s"]) / settings["epochs"]


def ours(shop: Shop, overrides: dict[str, Any], scratch: Path) -> dict[str, float]:
    """CPU seconds an epoch of the recommender job (training only), and tokens per CPU-second."""
    job = JOBS["recommender"]
    config = job.config.model_validate(overrides)
    report = LocalReport(scratch / "checkpoints")
    job.fit(config, job.load(shop, config), report, scratch / "bundle", progress=NoProgress())
    epochs = [metrics for metrics in report.history if "train_cpu_s" in metrics]
    return {
        "cpu_s_per_epoch": sum(metrics["train_cpu_s"] for metrics in epochs) / len(epochs),
        "tokens_per_cpu_s": sum(metrics["tokens_per_cpu_s"] for metrics in epochs) / len(epochs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder of the amazon-sequences format")
    parser.add_argument("--loss", choices=list(LOSSES), action="append", help="default: both")
    parser.add_argument("--rectools-python", type=Path, help="an interpreter with RecTools, instead of a fresh venv")
    options = parser.parse_args()
    recording = Recording("rectools_speed", seeds=[0])
    sequences = (
        next(options.data.glob("*.txt")) if not (options.data / "Beauty.txt").exists() else options.data / "Beauty.txt"
    )
    figures: dict[str, Any] = {"sizes": SIZES}
    with tempfile.TemporaryDirectory() as scratch:
        python = options.rectools_python or rectools_python(Path(scratch) / "venv")
        DATASETS["amazon-sequences"].read(options.data, Path(scratch) / "shop", force=False, progress=NoProgress())
        shop = Shop(Path(scratch) / "shop")
        for name, loss in LOSSES.items():
            if options.loss and name not in options.loss:
                continue
            mine = ours(shop, our_settings(loss), Path(scratch) / name.replace(" ", "_"))
            rectools_cpu_s = theirs(python, sequences, {**SIZES, **loss})
            figures[name] = {
                **mine, "rectools_cpu_s_per_epoch": rectools_cpu_s, "ratio": rectools_cpu_s / mine["cpu_s_per_epoch"],
            }  # fmt: skip
    recording.write(figures)


def our_settings(loss: dict[str, Any]) -> dict[str, Any]:
    """The same sizes in this recommender's own words, item ids alone."""
    return {
        "epochs": SIZES["epochs"], "threads": SIZES["threads"], "content": False, "negatives": loss["negatives"],
        "full_softmax_items": 10**9 if loss["loss"] == "softmax" else 0,
        "transformer": {
            "dim": SIZES["width"], "blocks": SIZES["blocks"], "heads": SIZES["heads"], "dropout": SIZES["dropout"],
            "max_len": SIZES["max_length"],
        },
    }  # fmt: skip


if __name__ == "__main__":
    main()
