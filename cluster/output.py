"""The shape every command shares: `--json`, `--debug`, exit codes, errors in one line, a clean Ctrl-C."""

from __future__ import annotations

import functools
import inspect
import json
import math
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec, TextIO

import typer

from training.contracts.errors import InputError, ShopkeeperError
from training.contracts.progress import Progress

EXIT_FAILED, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 1, 2, 130
_STDOUT_FD, _STDERR_FD = 1, 2

JsonOption = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document on stdout.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")]

_P = ParamSpec("_P")


class Output:
    """What a command answers with: one document for machines, or a text for people."""

    def __init__(self, *, as_json: bool, debug: bool, stdout: TextIO) -> None:
        self.as_json = as_json
        self.debug = debug
        self.answered = False
        self.exit_code = 0
        self._stdout = stdout

    def answer(self, document: Any, text: str = "", *, exit_code: int = 0) -> None:
        """The one answer of the command: `document` under `--json`, else `text`; the command may go on after it."""
        assert not self.answered, "a command answers once"
        self.answered = True
        self.exit_code = exit_code
        content = json.dumps(jsonable(document), indent=2) if self.as_json else text.rstrip("\n")
        if content:
            self._stdout.write(content + "\n")
            self._stdout.flush()

    def say(self, text: str) -> None:
        """A remark for the person watching, on stderr."""
        print(text, file=sys.stderr, flush=True)

    def fail(self, error: BaseException, document: Mapping[str, Any], *, lines: Sequence[str], exit_code: int) -> None:
        """Tell why the command could not answer."""
        if self.debug:
            traceback.print_exception(error, file=sys.stderr)
        for line in lines:
            self.say(f"error: {line}")
        self.exit_code = exit_code
        if self.as_json and not self.answered:
            self.answer(document, exit_code=exit_code)

    @functools.cached_property
    def progress(self) -> Progress:
        """Shows work that lasts, on stderr."""
        from cluster.progress import watch

        return watch(sys.stderr)

    def close(self) -> None:
        """Take down what is still drawn on the terminal."""
        if "progress" in self.__dict__:
            self.progress.stage("")


def command(function: Callable[Concatenate[Output, _P], None]) -> Callable[..., None]:
    """Make `function(output, ...)` a typer command that has `--json` and `--debug` and ends as CONTRACT says."""

    @functools.wraps(function)
    def run(*args: Any, json: bool, debug: bool, **kwargs: Any) -> None:
        with _own_stdout(quiet=json) as stdout:
            output = Output(as_json=json, debug=debug, stdout=stdout)
            _attempt(functools.partial(function, output, *args, **kwargs), output)
        if output.exit_code:
            raise typer.Exit(output.exit_code)

    signature = inspect.signature(function, eval_str=True)
    own = list(signature.parameters.values())[1:]
    keyword = inspect.Parameter.KEYWORD_ONLY
    shared = [
        inspect.Parameter("json", keyword, default=False, annotation=JsonOption),
        inspect.Parameter("debug", keyword, default=False, annotation=DebugOption),
    ]
    parameters = [parameter.replace(kind=keyword) for parameter in own] + shared
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _attempt(call: Callable[[], None], output: Output) -> None:
    """Run `call`; every way it can end becomes an exit code and a line on stderr."""
    try:
        call()
    except typer.Exit:
        raise
    except InputError as error:
        document = {"ok": False, "problems": [problem.as_dict() for problem in error.problems]}
        output.fail(error, document, lines=[str(problem) for problem in error.problems], exit_code=EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        output.exit_code = EXIT_INTERRUPTED
    except BrokenPipeError:
        _discard_stdout()
        output.exit_code = EXIT_FAILED
    except Exception as error:
        cause = cause_of(error)
        hint = "" if isinstance(error, ShopkeeperError) or output.debug else " (--debug shows the traceback)"
        output.fail(error, {"ok": False, "error": cause}, lines=[cause + hint], exit_code=EXIT_FAILED)
    finally:
        output.close()


def usage_failure(error: typer.TyperException, *, as_json: bool) -> None:
    """Tell of an unknown command, option or value; `error` names the nearest valid one."""
    output = Output(as_json=as_json, debug=False, stdout=sys.stdout)
    message = error.format_message()
    context = getattr(error, "ctx", None)
    output.fail(
        error,
        {"ok": False, "problems": [{"problem": message, "severity": "error"}]},
        lines=[message],
        exit_code=EXIT_BAD_INPUT,
    )
    if context is not None:
        output.say(f"Try '{context.command_path} --help'.")


def cause_of(error: BaseException) -> str:
    """Why it failed, in one line."""
    text = " ".join(str(error).split())
    if isinstance(error, ShopkeeperError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def _own_stdout(*, quiet: bool) -> Iterator[TextIO]:
    """The stream for the answer; while `quiet`, whatever else writes to stdout (child processes too) goes to stderr."""
    stdout = sys.stdout
    if not quiet:
        yield stdout
        return
    with redirect_stdout(sys.stderr):
        if not _is_process_stdout(stdout):
            yield stdout
            return
        kept_fd = os.dup(_STDOUT_FD)
        os.dup2(_STDERR_FD, _STDOUT_FD)
        try:
            with open(kept_fd, "w", encoding="utf-8", closefd=False) as kept:
                yield kept
        finally:
            os.dup2(kept_fd, _STDOUT_FD)
            os.close(kept_fd)


def _is_process_stdout(stream: TextIO) -> bool:
    try:
        return stream.fileno() == _STDOUT_FD
    except (OSError, ValueError):
        return False


def _discard_stdout() -> None:
    """Nobody reads: let the interpreter's last flush fail silently."""
    if _is_process_stdout(sys.stdout):
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT_FD)


def jsonable(value: Any) -> Any:
    """`value` with what JSON has no word for made plain: NaN as null, paths, times and numpy values."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(part) for key, part in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [jsonable(part) for part in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def counts_text(counts: Mapping[str, int]) -> str:
    """Tables and their rows, one per line."""
    width = max((len(name) for name in counts), default=0)
    return "\n".join(f"  {name:<{width}}  {rows:>12,}" for name, rows in counts.items())
