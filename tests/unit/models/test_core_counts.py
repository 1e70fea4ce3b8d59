"""A bundle answers the same on machines with different numbers of cores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training.features.vocabulary import Vocabulary
from training.indexes.config import IndexConfig
from training.indexes.registry import INDEXES
from training.models.recommender import Recommender
from training.models.sequence_transformer import SequenceTransformer, Tower, TransformerConfig

KINDS = sorted(INDEXES)
ITEMS, USERS = 2000, 40
MACHINE = """
import json, os, sys
cores, folders = int(sys.argv[1]), sys.argv[2:]
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
import faiss, numpy as np, torch
from pathlib import Path
from training.models.recommender import Recommender
histories, few = json.load(sys.stdin)
found = {}
for folder in folders:
    recommender = Recommender.load(Path(folder))
    for name, mask in (("all", None), ("few", np.array(few))):
        slots, _ = recommender.retrieve(histories, 10, [mask] * len(histories))
        found[f"{Path(folder).name} {name}"] = [[recommender.item_ids[slot] for slot in row] for row in slots]
print(json.dumps({"threads": [torch.get_num_threads(), faiss.omp_get_max_threads()], "found": found}))
"""


def answers(cores: int, folders: list[Path], histories: list[list[str]], few: list[bool]) -> Any:
    """What a process says that has so many cores, and a thread of torch and of FAISS for each."""
    done = subprocess.run(
        [sys.executable, "-c", MACHINE, str(cores), *map(str, folders)], input=json.dumps([histories, few]),
        env={**os.environ, "OMP_NUM_THREADS": str(cores)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["threads"] == [cores, cores]
    return said["found"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to cores")
def test_one_core_and_two_find_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    ids = [f"item-{n:04d}" for n in range(ITEMS)]
    retriever = SequenceTransformer(Tower(ITEMS, TransformerConfig(dim=32), repeats=True))
    for kind in KINDS:
        Recommender.build(
            Vocabulary(ids), retriever, np.ones(ITEMS, np.int64), [{"item_id": item_id} for item_id in ids],
            index=IndexConfig(kind=kind, exact_below=10),
        ).save(tmp_path / kind)  # fmt: skip
    histories = [[ids[n] for n in rng.integers(0, ITEMS, length)] for length in rng.integers(1, 20, USERS)]
    few = (rng.random(ITEMS) < 0.3).tolist()
    folders = [tmp_path / kind for kind in KINDS]
    one, two = answers(1, folders, histories, few), answers(2, folders, histories, few)
    assert len(one) == 2 * len(KINDS)
    assert all(len(row) == 10 for rows in one.values() for row in rows)
    assert one == two
