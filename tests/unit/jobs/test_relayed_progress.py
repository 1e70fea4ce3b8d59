"""What a worker reports is what the person at the driver sees, and only of this run."""

from __future__ import annotations

from pathlib import Path

from training.jobs.relayed_progress import ProgressFile, shown


class Heard:
    def __init__(self) -> None:
        self.stages: list[tuple[str, int | None]] = []
        self.units = 0

    def stage(self, label: str, total: int | None = None) -> None:
        self.stages.append((label, total))

    def advance(self, units: int = 1) -> None:
        self.units += units


def test_stages_and_units_arrive_and_an_earlier_run_does_not(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    earlier = ProgressFile(path)
    earlier.stage("long ago", 5)
    heard = Heard()
    with shown(path, heard):
        worker = ProgressFile(path)
        worker.stage("epochs", 3)
        for _ in range(3):
            worker.advance()
        worker.stage("evaluation")
    assert heard.stages == [("epochs", 3), ("evaluation", None), ("", None)]
    assert heard.units == 3
