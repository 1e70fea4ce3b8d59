"""RecTools' SASRec epoch by epoch: CPU seconds of each, then its NDCG@10; run by time_to_target.py inside its own venv.

Usage: python rectools_epochs.py SEQUENCES.txt SETTINGS_JSON OUT.jsonl; one line per epoch. It ends when the test
NDCG@10 reaches `target`, or once `cap_cpu_s` CPU seconds of training are spent.
"""

import json
import math
import resource
import sys

import pandas as pd
import torch
from pytorch_lightning import Callback, Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

EPOCHS_CPU_S = []


class EpochClock(Callback):
    """CPU seconds of every training epoch, data preparation and evaluation left out."""

    def on_train_epoch_start(self, *_):
        self.begun_cpu_s = cpu_seconds()

    def on_train_epoch_end(self, *_):
        EPOCHS_CPU_S.append(cpu_seconds() - self.begun_cpu_s)


def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def read(path):
    """Items of each user, oldest first."""
    with open(path) as lines:
        return {user: items for user, *items in map(str.split, lines)}


def dataset(sequences, left_out):
    """Each user's items but the last `left_out`, with the order as time."""
    rows = [
        (user, item, 1.0, place)
        for user, items in sequences.items()
        for place, item in enumerate(items[: len(items) - left_out])
    ]
    events = pd.DataFrame(rows, columns=[Columns.User, Columns.Item, Columns.Weight, Columns.Datetime])
    events[Columns.Datetime] = pd.to_datetime(events[Columns.Datetime], unit="s")
    return Dataset.construct(events)


def ndcg_at_10(model, inputs, targets):
    """Mean over all users; a target that was never trained on is a miss. Items of the input are left out."""
    slates = model.recommend(
        users=list(targets), dataset=inputs, k=10, filter_viewed=True, on_unsupported_targets="ignore"
    )
    found = slates[slates[Columns.Item] == slates[Columns.User].map(targets)]
    return sum(1 / math.log2(rank + 1) for rank in found[Columns.Rank]) / len(targets)


def build(settings):
    def trainer():
        return Trainer(
            max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, deterministic=True, callbacks=[EpochClock()],
        )  # fmt: skip

    return SASRecModel(
        n_blocks=settings["blocks"],
        n_heads=settings["heads"],
        n_factors=settings["width"],
        session_max_len=settings["max_length"],
        dropout_rate=settings["dropout"],
        loss=settings["loss"],
        n_negatives=settings["negatives"],
        batch_size=settings["batch_users"],
        get_trainer_func=trainer,
    )


def main():
    settings, out = json.loads(sys.argv[2]), sys.argv[3]
    torch.set_num_threads(settings["threads"])
    seed_everything(settings["seed"])
    sequences = read(sys.argv[1])
    train, with_validation = dataset(sequences, 2), dataset(sequences, 1)
    validation, test = ({user: items[place] for user, items in sequences.items()} for place in (-2, -1))
    model = build(settings)
    with open(out, "a") as lines:
        reached = 0.0
        while reached < settings["target"] and sum(EPOCHS_CPU_S) < settings["cap_cpu_s"]:
            model.fit_partial(train, min_epochs=1, max_epochs=1)
            reached = ndcg_at_10(model, with_validation, test)
            line = {
                "epoch": len(EPOCHS_CPU_S),
                "cpu_s": EPOCHS_CPU_S[-1],
                "validation_ndcg@10": ndcg_at_10(model, train, validation),
                "test_ndcg@10": reached,
            }
            lines.write(json.dumps(line) + "\n")
            lines.flush()


if __name__ == "__main__":
    main()
