"""`fraudengine demo`: the whole job, from nothing to decisions, in one command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fraudengine.cli.console import notify, print_json, print_table, progress

if TYPE_CHECKING:
    from fraudengine.demo import DemoResult, Outcome

__all__ = ["register"]


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything that is made.")] = Path("demo"),
    customers: Annotated[int, typer.Option(help="Customers of the synthetic history.")] = 10_000,
    days: Annotated[int, typer.Option(help="Days; the last 14 are decided, not trained on.")] = 100,
    fraud_rate: Annotated[float, typer.Option(help="Share of fraud, 0 to 0.2.")] = 0.005,
    seed: Annotated[int, typer.Option(min=0, help="Same seed: same history and bundle.")] = 1,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Native threads of the replay.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Generate a history, train on it, compile the ensemble, and decide the following days.

    [bold]Examples[/bold]

    fraudengine demo

    fraudengine demo --customers 50000 --threads 2 --out larger
    """
    from fraudengine.demo import run

    with progress(shown=not as_json) as report:
        result = run(
            out,
            customers=customers,
            days=days,
            fraud_rate=fraud_rate,
            seed=seed,
            threads=threads,
            progress=report,
        )
    if as_json:
        print_json(_summary(result))
    else:
        _print(result)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("demo")(demo)


def _summary(result: DemoResult) -> dict[str, object]:
    whole = result.whole
    return {
        "trained_transactions": result.trained_transactions,
        "decided_transactions": whole.transactions,
        "frauds": whole.frauds,
        "frauds_caught": whole.caught,
        "detection_rate": whole.detection_rate,
        "false_positive_rate": whole.false_positive_rate,
        "money_at_stake_minor": whole.at_stake_minor,
        "money_stopped_minor": whole.stopped_minor,
        "transactions_per_second": result.replayed / result.replay_seconds,
        "report": str(result.report),
        "decisions": str(result.decisions),
        "bundle": str(result.bundle),
    }


def _print(result: DemoResult) -> None:
    whole = result.whole
    rate = result.replayed / result.replay_seconds
    print_table(
        "Fourteen days the model had never seen",
        ["question", "answer"],
        [
            ("transactions learned from", f"{result.trained_transactions:,}"),
            ("transactions decided", f"{whole.transactions:,}"),
            ("of them fraud", f"{whole.frauds:,}"),
            ("fraud caught (reviewed or blocked)", f"{whole.caught:,} = {whole.detection_rate:.1%}"),
            ("of that blocked outright", f"{whole.blocked:,}"),
            ("honest payments disturbed", f"{whole.disturbed:,} = {whole.false_positive_rate:.2%}"),
            ("money at stake", _money(whole.at_stake_minor)),
            ("money stopped", f"{_money(whole.stopped_minor)} = {_share(whole):.1%}"),
            ("speed, files and reasons included", f"{rate:,.0f} transactions/s"),
        ],
    )
    kinds = sorted(((name, each) for name, each in result.by_typology.items() if each.frauds), key=_name)
    print_table(
        "By kind of fraud",
        ["kind", "frauds", "caught", "blocked", "money stopped"],
        [(name, each.frauds, each.caught, each.blocked, f"{_share(each):.0%}") for name, each in kinds],
    )
    print_table(
        "Some decisions and their reasons",
        ["amount", "score", "action", "kind", "main reasons"],
        [
            (
                _money(each["amount_minor"]),
                f"{each['score']:.3f}",
                each["action"],
                each["typology"],
                "\n".join(each["reasons"][:2]),
            )
            for each in result.examples.iter_rows(named=True)
        ],
    )
    notices = [result.backend_note] if result.backend_note else []
    paths = {"report": result.report, "decisions": result.decisions, "bundle": result.bundle}
    notify([*notices, *(f"{name}: {path}" for name, path in paths.items())])
    notify([f"again by hand: fraudengine replay {result.bundle} {result.history} --out decisions.parquet"])


def _name(kind: tuple[str, Outcome]) -> str:
    return kind[0]


def _share(outcome: Outcome) -> float:
    return outcome.stopped_minor / outcome.at_stake_minor if outcome.at_stake_minor else float("nan")


def _money(minor: int) -> str:
    return f"{minor / 100:,.2f} EUR"
