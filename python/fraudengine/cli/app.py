"""The application: its commands, its global options, and the one place where errors become exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from fraudengine import __version__
from fraudengine.cli import (
    alerts,
    config,
    dashboard,
    demo,
    evaluate,
    features,
    generate,
    health,
    inspect,
    loadtest,
    model,
    replay,
    scenario,
    score,
    serve,
    spark,
    status,
    stream,
    train,
    up,
    validate,
)
from fraudengine.cli import compile as compile_command
from fraudengine.cli.console import errors
from fraudengine.cli.exit_codes import ExitCode
from fraudengine.errors import ConfigError, FraudEngineError

__all__ = ["app", "main"]

_EPILOG = (
    "Exit codes: 0 done, 1 the job failed, 2 wrong usage, 70 unexpected error, 130 interrupted. "
    "Rows that break the schema are left out and counted; they do not fail a job."
)

app = typer.Typer(
    name="fraudengine",
    help="Real-time fraud detection: train in Python, decide in native code.",
    epilog=_EPILOG,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"fraudengine {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Real-time fraud detection: train in Python, decide in native code."""


_MODULES = (
    *(demo, generate, validate, features, train, compile_command, replay, evaluate, inspect, scenario),
    *(up, config, stream, spark, serve, score, loadtest, dashboard, alerts, status, health, model),
)
for module in _MODULES:
    module.register(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with one of `ExitCode`.

    Parameters
    ----------
    arguments
        Arguments after the program name; None takes those of the process.

    Raises
    ------
    SystemExit
        Always.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(_run(given, debug="--debug" in given))


def _run(arguments: list[str], *, debug: bool) -> int:
    # `--debug` is accepted before and after the command, because that is where people add it.
    rest = [argument for argument in arguments if argument != "--debug"] or ["--help"]
    try:
        code = app(rest, standalone_mode=False, prog_name="fraudengine")
    except FraudEngineError as error:
        if debug:
            raise
        errors().print(f"error: {_one_line(error)}", markup=False)
        return ExitCode.USAGE if isinstance(error, ConfigError) else ExitCode.FAILED
    except typer.TyperException as error:
        message = getattr(error, "format_message", error.__str__)()
        errors().print(f"error: {' '.join(message.split())} (--help shows how)", markup=False)
        return ExitCode.USAGE
    except (KeyboardInterrupt, typer.Abort):
        errors().print("interrupted", markup=False)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return ExitCode.OK
    except Exception as error:
        if debug:
            raise
        kind = type(error).__name__
        errors().print(f"unexpected {kind}: {_one_line(error)} (--debug shows where)", markup=False)
        return ExitCode.BUG
    return int(code or ExitCode.OK)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
