"""The console script `shopkeeper`: one table of commands, each in its own module of cluster/commands."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, NoReturn

import typer

from cluster.output import EXIT_BAD_INPUT, EXIT_INTERRUPTED, usage_failure

# What a command is called: the function, or typer app of a group, that runs it. These modules import neither ray, torch
# nor pyarrow at their top, so that `--help` is instant.
COMMANDS = {
    "up": "cluster.commands.up:up",
    "down": "cluster.commands.down:down",
    "status": "cluster.commands.status:status",
    "data": "cluster.commands.data:app",
    "train": "cluster.commands.train:train",
    "tune": "cluster.commands.tune:tune",
    "evaluate": "cluster.commands.evaluate:evaluate",
    "predict": "cluster.commands.predict:predict",
    "models": "cluster.commands.models:app",
    "validate": "cluster.commands.validate:validate",
}


def build_app() -> typer.Typer:
    """The application with every command of COMMANDS."""
    app = typer.Typer(
        name="shopkeeper",
        add_completion=False,
        pretty_exceptions_enable=False,
        epilog="State lives under SHOPKEEPER_HOME (default: .shopkeeper/ in the current folder).",
    )
    app.callback(invoke_without_command=True)(shopkeeper)
    for name, target in COMMANDS.items():
        module, attribute = target.split(":")
        found = getattr(import_module(module), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name)(found)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"shopkeeper {version('shopkeeper')}")
        raise typer.Exit


def shopkeeper(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The intelligence of an online shop: train, tune and serve recommendations.

    Start here: shopkeeper up
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong input."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
    try:
        code = typer.main.get_command(build_app()).main(arguments, prog_name="shopkeeper", standalone_mode=False)
    except typer.TyperException as error:
        usage_failure(error, as_json="--json" in arguments)
        sys.exit(EXIT_BAD_INPUT)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(EXIT_INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def _terminate(signum: int, _frame: object) -> NoReturn:
    """Leave through every `finally`, so that nothing half-written stays."""
    sys.exit(128 + signum)


if __name__ == "__main__":
    main()
