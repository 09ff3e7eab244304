"""`fraudengine scenario`: scripted days of traffic through a trained model, and what it came to in money."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fraudengine.cli.console import notify, print_json, print_table, progress

if TYPE_CHECKING:
    from fraudengine.demo import Outcome
    from fraudengine.scenario import ScenarioResult

__all__ = ["register"]

commands = typer.Typer(no_args_is_help=True, help="Play scripted days of traffic and count the money.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@commands.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List the scenarios that come with the package.

    [bold]Examples[/bold]

    fraudengine scenario list
    """
    from fraudengine.scenario import built_in

    plans = built_in()
    if as_json:
        print_json({name: plan.model_dump(mode="json") for name, plan in plans.items()})
        return
    print_table(
        "Scenarios",
        ["name", "what", "customers", "days played", "bursts"],
        [
            (name, plan.title, plan.world.customers, plan.play_days, len(plan.bursts))
            for name, plan in plans.items()
        ],
    )


@commands.command("run")
def run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of `scenario list`, or a TOML file.")],
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", help="Decide with this model instead of one trained on the days before."),
    ] = None,
    keep: Annotated[
        Path | None, typer.Option("--keep-bundle", help="Folder for the trained model; replaced if there.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Another world of the same kind.")] = None,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Native threads; change nothing.")] = 2,
    as_json: AsJson = False,
) -> None:
    """Generate a scenario's days, train on those before, decide the played ones, and count the money.

    The model learns from what was known when the played days begin; while they are played, a label arrives
    when it became known. Each transaction counts by itself: what an earlier stop would have prevented is not
    left out. The same scenario gives the same figures to the cent.

    [bold]Examples[/bold]

    fraudengine scenario run holiday-weekend

    fraudengine scenario run holiday-weekend --bundle model --json
    """
    from fraudengine.scenario import load_plan, play

    name, plan = load_plan(name)
    if seed is not None:
        plan = plan.with_seed(seed)
    with progress(shown=not as_json) as report:
        result = play(plan, bundle=bundle, keep=keep, threads=threads, progress=report)
    if as_json:
        print_json(_summary(name, result))
        return
    _print(result)
    rate = result.replayed / result.replay_seconds
    notify([f"{result.replayed:,} transactions decided at {rate:,.0f}/s, files and reasons included"])


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(commands, name="scenario")


def _summary(name: str, result: ScenarioResult) -> dict[str, object]:
    """Return everything as JSON has it: nothing in it depends on the machine's speed."""
    return {
        "scenario": name,
        "seed": result.plan.world.seed,
        "first_day": str(result.plan.cut.date()),
        "days": result.plan.play_days,
        "currency": result.plan.money.currency,
        "bundle_hash": result.bundle_hash,
        "learned_transactions": result.learned,
        "whole": _figures(result.whole),
        "by_typology": {kind: _kind_figures(each) for kind, each in result.by_typology.items()},
        "by_day": {str(day): _figures(each) for day, each in result.by_day.items()},
    }


def _figures(each: Outcome) -> dict[str, object]:
    rates = {"detection_rate": each.detection_rate, "false_positive_rate": each.false_positive_rate}
    return {
        **asdict(each),
        "missed_minor": each.missed_minor,
        **{name: None if math.isnan(rate) else rate for name, rate in rates.items()},
    }


def _kind_figures(each: Outcome) -> dict[str, object]:
    """Return the figures of a kind of fraud, among which nothing is genuine."""
    genuine = ("disturbed", "disturbed_minor", "wrongly_blocked", "wrongly_blocked_minor")
    return {
        name: value
        for name, value in _figures(each).items()
        if name not in genuine and name != "false_positive_rate"
    }


def _print(result: ScenarioResult) -> None:
    whole, currency = result.whole, result.plan.money.currency

    # Imported late: it brings the libraries of training, which every other command would wait for.
    from fraudengine.cli.demo_view import money

    def told(minor: int) -> str:
        return money(minor, currency)

    def share(value: float, digits: int = 1) -> str:
        return "" if math.isnan(value) else f"{value:.{digits}%}"

    print_table(
        result.plan.title,
        ["question", "answer"],
        [
            ("transactions learned from", f"{result.learned:,}"),
            ("transactions played", f"{whole.transactions:,}"),
            ("of them fraud", f"{whole.frauds:,}"),
            ("money at stake", told(whole.at_stake_minor)),
            (
                "money stopped (reviewed or blocked)",
                f"{told(whole.stopped_minor)} = {share(whole.stopped_share)}",
            ),
            ("of that blocked outright", told(whole.blocked_minor)),
            ("money missed", told(whole.missed_minor)),
            ("fraud caught: detection rate", f"{whole.caught:,} = {share(whole.detection_rate)}"),
            (
                "genuine payments disturbed: false positive rate",
                f"{whole.disturbed:,} = {share(whole.false_positive_rate, 2)}, {told(whole.disturbed_minor)}",
            ),
            (
                "of them wrongly blocked",
                f"{whole.wrongly_blocked:,}, {told(whole.wrongly_blocked_minor)}",
            ),
        ],
    )
    print_table(
        f"By kind of fraud, money in {currency}",
        ["kind", "frauds", "caught", "at stake", "stopped", "missed"],
        [
            (
                kind,
                each.frauds,
                share(each.detection_rate),
                each.at_stake_minor // 100,
                each.stopped_minor // 100,
                each.missed_minor // 100,
            )
            for kind, each in result.by_typology.items()
        ],
    )
    print_table(
        f"By day, money in {currency}",
        ["day", "paid", "frauds", "caught", "false positives", "stopped", "missed", "wrongly blocked"],
        [
            (
                f"{day:%d %b}",
                each.transactions,
                each.frauds,
                share(each.detection_rate),
                share(each.false_positive_rate, 2),
                each.stopped_minor // 100,
                each.missed_minor // 100,
                each.wrongly_blocked_minor // 100,
            )
            for day, each in result.by_day.items()
        ],
    )
