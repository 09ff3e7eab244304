"""A demonstration when it is over: tables that a stranger understands and the way on, or JSON."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from fraudengine.cli.console import notify, print_table
from fraudengine.cli.demo_view import money

if TYPE_CHECKING:
    from fraudengine.demo import LiveResult, Outcome, ReplayedResult

__all__ = ["print_further", "print_live", "print_replayed", "print_running", "summary"]

Rows = list[tuple[str, str]]


def summary(result: LiveResult | ReplayedResult) -> dict[str, object]:
    """Return everything as JSON has it; a rate of nothing is null."""
    whole = result.whole
    told: dict[str, object] = {
        "trained_transactions": result.prepared.trained_transactions,
        "decided_transactions": whole.transactions,
        "frauds": whole.frauds,
        "frauds_caught": whole.caught,
        "detection_rate": _number(whole.detection_rate),
        "false_positive_rate": _number(whole.false_positive_rate),
        "money_at_stake_minor": whole.at_stake_minor,
        "money_stopped_minor": whole.stopped_minor,
        "report": str(result.prepared.report),
        "decisions": str(result.decisions),
        "bundle": str(result.prepared.bundle),
    }
    from fraudengine.demo import LiveResult

    if not isinstance(result, LiveResult):
        return told | {"transactions_per_second": result.replayed / result.replay_seconds}
    p50, p95, p99 = result.latency_millis
    return told | {
        "transactions_per_second": result.load.rate,
        "latency_millis": {"p50": p50, "p95": p95, "p99": p99},
        "counts": asdict(result.counts),
        "sound": result.counts.sound,
        "settings": str(result.settings),
        "postgres_url": result.postgres_url,
        "redis_url": result.redis_url,
        "addresses": result.addresses,
        "messages": result.messages,
    }


def print_replayed(result: ReplayedResult) -> None:
    """Print what a demonstration without services came to."""
    rate = result.replayed / result.replay_seconds
    speed = [("speed, files and reasons included", f"{rate:,.0f} transactions/s")]
    print_table("Fourteen days the model had never seen", ["question", "answer"], _answers(result) + speed)
    _print_kinds(result)
    bundle, history = result.prepared.bundle, result.prepared.history_path
    _print_paths(result)
    notify([f"again by hand: fraudengine replay {bundle} {history} --out decisions.parquet"])


def print_live(result: LiveResult) -> None:
    """Print what a live demonstration came to."""
    print_table("Fourteen days the model had never seen, live", ["question", "answer"], _answers(result))
    _print_kinds(result)
    p50, p95, p99 = result.latency_millis
    counts, stored = result.counts, result.counts.stored
    print_table(
        "The machine",
        ["question", "answer"],
        [
            (
                "sent in the live part",
                f"{result.load.rate:,.0f} transactions/s for {result.load.seconds:.0f} s",
            ),
            ("time to a decision, half of them within", f"{p50:,.1f} ms"),
            ("95% within", f"{p95:,.1f} ms"),
            ("99% within", f"{p99:,.1f} ms"),
            ("transactions Kafka took, warm-up included", f"{counts.sent:,}"),
            ("decisions published", f"{counts.decided:,}"),
            ("rows in PostgreSQL", f"{stored.rows:,}"),
            ("counted in Redis", f"{counts.redis:,}"),
            ("labels sent, and rows of them", f"{counts.labels_sent:,}, {stored.labels:,}"),
            ("refused records", f"{counts.dead_letters:,}"),
            ("messages about alerts in the inbox", f"{result.messages:,}"),
            ("lost / doubled, by id", f"{stored.lost:,} / {stored.doubled:,}"),
        ],
    )
    _print_paths(result)


def print_further(result: LiveResult) -> None:
    """Print what can be done when everything is stopped."""
    notify(
        [
            "everything is stopped, all data is kept; to look further:",
            f"  fraudengine up --detach --config {result.settings}",
            f"  fraudengine dashboard --config {result.settings}",
            f"  psql {result.postgres_url} -c 'SELECT * FROM alerts_named ORDER BY score DESC LIMIT 9'",
            f"  redis-cli -u {result.redis_url} HGETALL fraud:counters",
            f"  fraudengine stream --config {result.settings}   # goes on where it stopped",
            "  fraudengine status",
            f"  fraudengine down --config {result.settings}",
        ]
    )


def print_running(result: LiveResult) -> None:
    """Print where everything is reached that still runs; plain lines, because addresses are copied."""
    for name, address in result.addresses.items():
        typer.echo(f"{name:<9} {address}")
    notify(["traffic goes on; running until Ctrl-C"])


def _answers(result: LiveResult | ReplayedResult) -> Rows:
    whole = result.whole
    return [
        ("transactions learned from", f"{result.prepared.trained_transactions:,}"),
        ("transactions decided", f"{whole.transactions:,}"),
        ("of them fraud", f"{whole.frauds:,}"),
        ("fraud caught (reviewed or blocked)", f"{whole.caught:,} = {whole.detection_rate:.1%}"),
        ("of that blocked outright", f"{whole.blocked:,}"),
        ("honest payments disturbed", f"{whole.disturbed:,} = {whole.false_positive_rate:.2%}"),
        ("money at stake", money(whole.at_stake_minor)),
        ("money stopped", f"{money(whole.stopped_minor)} = {whole.stopped_share:.1%}"),
    ]


def _print_kinds(result: LiveResult | ReplayedResult) -> None:
    def line(name: str, each: Outcome) -> tuple[object, ...]:
        return name, each.frauds, each.caught, each.blocked, f"{each.stopped_share:.0%}"

    print_table(
        "By kind of fraud",
        ["kind", "frauds", "caught", "blocked", "money stopped"],
        [line(name, each) for name, each in result.by_typology.items()],
    )
    print_table(
        "Some decisions and their reasons",
        ["amount", "score", "action", "kind", "main reasons"],
        [
            (
                money(each["amount_minor"]),
                f"{each['score']:.3f}",
                each["action"],
                each["typology"],
                "\n".join(each["reasons"][:2]),
            )
            for each in result.examples.iter_rows(named=True)
        ],
    )


def _print_paths(result: LiveResult | ReplayedResult) -> None:
    prepared = result.prepared
    notices = [prepared.backend_note] if prepared.backend_note else []
    paths = {"report": prepared.report, "decisions": result.decisions, "bundle": prepared.bundle}
    notify([*notices, *(f"{name}: {path}" for name, path in paths.items())])


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
