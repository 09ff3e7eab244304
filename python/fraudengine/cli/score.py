"""`fraudengine score`: decide the transactions of a file by a running service."""

from __future__ import annotations

import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from fraudengine.cli.console import notify, print_table
from fraudengine.cli.exit_codes import ExitCode
from fraudengine.cli.scoring_options import (
    AddressOption,
    CaOption,
    CertificateOption,
    KeyOption,
    NameOption,
    TlsOption,
    TokenOption,
    address_of,
    tls_of,
    token_of,
)
from fraudengine.cli.settings_options import ConfigOption, SetOption, load_settings
from fraudengine.errors import InputError
from fraudengine.schema import LABEL_COLUMNS

if TYPE_CHECKING:
    from fraudengine.client import Decision, Refusal

__all__ = ["read_transactions", "register"]

_ONE_BYTES_MAX = 65_536
_SHOWN = 50


def score(
    file: Annotated[
        Path, typer.Option("--file", help="Transactions as JSON: one, a list, or one a line; - reads stdin.")
    ],
    address: AddressOption = None,
    token: TokenOption = None,
    tls: TlsOption = False,
    tls_ca: CaOption = None,
    tls_certificate: CertificateOption = None,
    tls_key: KeyOption = None,
    tls_name: NameOption = None,
    timeout: Annotated[float, typer.Option(help="Longest wait for an answer, seconds.")] = 10.0,
    batch: Annotated[int, typer.Option(help="Most transactions of one call, 1 to 4,096.")] = 256,
    config: ConfigOption = None,
    assignments: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document a line.")] = False,
) -> None:
    """Decide the transactions of a file by a running service, in their order.

    Fields are the columns of a history: transaction_id, event_time (ISO 8601 with zone, or microseconds),
    customer_id, amount_minor (or amount in major units, with currency), and so on. Labels are left out.
    Ends with 1 when a transaction was refused or there was no answer.

    [bold]Examples[/bold]

    fraudengine score --file tx.json

    fraudengine score --file payments.jsonl --json | jq 'select(.action != "approve")'

    echo '{...}' | fraudengine score --file - --address scoring:50051 --tls --token-file token
    """
    from fraudengine.client import Client, NoAnswer

    with Client(
        address_of(address, load_settings(config, assignments)),
        token=token_of(token),
        tls=tls_of(asked=tls, ca=tls_ca, certificate=tls_certificate, key=tls_key, name=tls_name),
        batch_timeout_seconds=timeout,
        on_no_answer=NoAnswer.RAISE,
    ) as client:
        outcomes = client.score_many(_transactions(file), batch=batch)
        counted = _print_lines(outcomes) if as_json else _print(outcomes)
    notify([", ".join(f"{count:,} {name}" for name, count in counted.items()) or "no transactions"])
    if counted["refused"]:
        raise typer.Exit(ExitCode.FAILED)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("score")(score)


def _transactions(file: Path) -> Iterator[dict[str, Any]]:
    if str(file) == "-":
        yield from read_transactions(sys.stdin, "standard input")
        return
    try:
        with file.open(encoding="utf-8") as lines:
            yield from read_transactions(lines, str(file))
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8: {error.reason} at byte {error.start}") from error


def read_transactions(lines: TextIO, name: str) -> Iterator[dict[str, Any]]:
    """Yield the transactions of a JSON text: one object, objects one after the other, or a list of them.

    Objects are read one at a time, a list at once. Numbers with a point become Decimal.

    Raises
    ------
    InputError
        It is not JSON, something in it is not an object, or one takes more than 65,536 characters.
    """
    decoder = json.JSONDecoder(parse_float=Decimal)
    rest, first = "", True
    for number, line in enumerate(lines, start=1):
        if first and line.lstrip().startswith("["):
            yield from _listed(decoder, line + lines.read(), name)
            return
        first = first and not line.strip()
        rest = f"{rest}{line}".lstrip()
        while rest:
            try:
                value, end = decoder.raw_decode(rest)
            except ValueError as error:
                if not rest.startswith("{") or len(rest) > _ONE_BYTES_MAX:
                    raise InputError(f"{name}, line {number}: {error}") from error
                break
            yield _without_labels(value, f"{name}, line {number}")
            rest = rest[end:].lstrip()
    if rest:
        raise InputError(f"{name} ends inside a transaction")


def _listed(decoder: json.JSONDecoder, text: str, name: str) -> Iterator[dict[str, Any]]:
    try:
        values = decoder.decode(text)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from error
    for number, value in enumerate(values, start=1):
        yield _without_labels(value, f"{name}, entry {number}")


def _without_labels(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where}: a transaction must be an object, is of type {type(value).__name__}")
    return {name: held for name, held in value.items() if name not in LABEL_COLUMNS}


def _counted(outcome: Decision | Refusal) -> str:
    from fraudengine.client import Refusal

    return "refused" if isinstance(outcome, Refusal) else outcome.action.name.lower()


def _print_lines(outcomes: Iterator[Decision | Refusal]) -> Counter[str]:
    counted: Counter[str] = Counter()
    for outcome in outcomes:
        counted[_counted(outcome)] += 1
        typer.echo(json.dumps(outcome.as_dict(), allow_nan=False))
    return counted


def _print(outcomes: Iterator[Decision | Refusal]) -> Counter[str]:
    shown = list(itertools.islice(outcomes, _SHOWN))
    counted = Counter(map(_counted, shown))
    counted.update(map(_counted, outcomes))
    header = ["transaction", "action", "score", "reasons", "notes"]
    title = "Decisions" if counted.total() <= _SHOWN else f"Decisions, first {_SHOWN} of {counted.total():,}"
    print_table(title, header, [_row(outcome) for outcome in shown])
    return counted


def _row(outcome: Decision | Refusal) -> list[object]:
    from fraudengine.client import Refusal

    if isinstance(outcome, Refusal):
        return [outcome.transaction_id, "refused", None, None, f"{outcome.code}: {outcome.message}"]
    notes = [*(("repeated id",) if outcome.repeated else ()), *outcome.degraded]
    reasons = ", ".join(each.feature for each in outcome.reasons)
    score = None if outcome.score is None else f"{outcome.score:.4f}"
    return [outcome.transaction_id, outcome.action.name.lower(), score, reasons, ", ".join(notes)]
