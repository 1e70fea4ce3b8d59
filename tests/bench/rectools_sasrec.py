"""Three epochs of RecTools' SASRec on an amazon-sequences file; run by rectools_speed.py inside its own venv.

Usage: python rectools_sasrec.py SEQUENCES.txt SETTINGS_JSON; prints one JSON document.
"""

import json
import resource
import sys
import time

import pandas as pd
import torch
from pytorch_lightning import Trainer
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel


def training_events(path: str) -> pd.DataFrame:
    """Each user's items but the last two, with the order as time."""
    rows = []
    with open(path) as lines:
        for line in lines:
            user, *items = line.split()
            rows += [(user, item, 1.0, place) for place, item in enumerate(items[:-2])]
    events = pd.DataFrame(rows, columns=[Columns.User, Columns.Item, Columns.Weight, Columns.Datetime])
    events[Columns.Datetime] = pd.to_datetime(events[Columns.Datetime], unit="s")
    return events


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    settings = json.loads(sys.argv[2])
    torch.set_num_threads(settings["threads"])
    dataset = Dataset.construct(training_events(sys.argv[1]))
    model = SASRecModel(
        n_blocks=settings["blocks"],
        n_heads=settings["heads"],
        n_factors=settings["width"],
        session_max_len=settings["max_length"],
        dropout_rate=settings["dropout"],
        loss=settings["loss"],
        n_negatives=settings["negatives"],
        batch_size=settings["batch_users"],
        epochs=settings["epochs"],
        get_trainer_func=lambda: Trainer(
            max_epochs=settings["epochs"], accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, deterministic=True,
        ),
    )  # fmt: skip
    begun_cpu_s, begun_s = cpu_seconds(), time.monotonic()
    model.fit(dataset)
    print(
        json.dumps(
            {"cpu_s": cpu_seconds() - begun_cpu_s, "wall_s": time.monotonic() - begun_s, "epochs": settings["epochs"]}
        )
    )


if __name__ == "__main__":
    main()
