"""`shopkeeper validate`: check configuration files strictly."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cluster.output import EXIT_BAD_INPUT, Output, command


@command
def validate(
    output: Output,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="YAML files.", show_default=False)],
) -> None:
    """Check configuration files: every unknown or wrong field with its line and the nearest valid name.

    Example: shopkeeper validate configs/training/recommender.yaml
    """
    from cluster.config_kinds import check_config

    problems = [problem for file in files for problem in check_config(file)]
    blank = {"file": None, "line": None, "field": None, "nearest": None}
    document = {"ok": not problems, "problems": [blank | problem.as_dict() for problem in problems]}
    text = "\n".join([f"error: {problem}" for problem in problems] or [f"{len(files)} ok"])
    output.answer(document, text, exit_code=EXIT_BAD_INPUT if problems else 0)
