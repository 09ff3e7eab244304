"""`fraudengine alerts`: tell people about alerts, and what to do about messages that did not arrive."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fraudengine.cli.console import notify, print_json, print_table
from fraudengine.cli.settings_options import ConfigOption, SetOption, load_settings
from fraudengine.cli.values import duration
from fraudengine.errors import AlertError, ConfigError

if TYPE_CHECKING:
    from types import FrameType

    from fraudengine.alerts.outbox import Outbox
    from fraudengine.alerts.tables import Waiting
    from fraudengine.config import Settings

__all__ = ["register"]

_app = typer.Typer(invoke_without_command=True)
_LISTED_MAX = 1_000

InboxOption = Annotated[
    Path | None,
    typer.Option("--inbox", help="Only write messages into this folder, whatever the settings say."),
]


@_app.callback(invoke_without_command=True)
def alerts(
    context: typer.Context,
    inbox: InboxOption = None,
    file: ConfigOption = None,
    assignments: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the address as JSON.")] = False,
) -> None:
    """Tell people about alerts until interrupted: Slack, mail, webhooks, others (docs/alerts.md).

    Alerts on one card (or customer, device, merchant) become one message, then roll-ups at a bounded rate.
    What cannot be sent is kept and tried again, also across restarts.

    [bold]Examples[/bold]

    fraudengine alerts --inbox inbox

    fraudengine alerts --config fraudengine.toml
    """
    if context.invoked_subcommand is not None:
        if inbox or file or assignments or as_json:
            raise ConfigError(f"give options behind {context.invoked_subcommand}, not before it")
        return
    from fraudengine.alerts.service import AlertService

    settings = _settings(file, assignments, inbox)
    asked = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        asked.set()

    before = [signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)]
    with AlertService(settings) as service:
        if as_json:
            print_json({"address": service.address})
        names = ", ".join(settings.alerts.targets)
        notify([f"alerts go to {names}; metrics and status at {service.address}"])
        while not asked.wait(0.2) and service.error is None:
            pass
        error = service.error
    for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
        signal.signal(number, handler)
    if error is not None:
        raise AlertError(error)
    notify(["stopped"])


@_app.command("test")
def trial(
    inbox: InboxOption = None,
    file: ConfigOption = None,
    assignments: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Send one test message to every target, once; fail if one does not take it.

    [bold]Examples[/bold]

    fraudengine alerts test
    """
    from fraudengine.alerts.targets import Accepted, targets_of
    from fraudengine.alerts.trial import trial_message

    outcomes = {
        name: target.send(trial_message())
        for name, target in targets_of(_settings(file, assignments, inbox).alerts).items()
    }
    told = {
        name: "accepted" if isinstance(outcome, Accepted) else outcome.reason
        for name, outcome in outcomes.items()
    }
    if as_json:
        print_json(told)
    else:
        print_table("Test messages", ["target", "outcome"], told.items())
    failed = [name for name, outcome in outcomes.items() if not isinstance(outcome, Accepted)]
    if failed or not told:
        raise AlertError(f"not sent: {', '.join(failed) or 'there is no target in alerts.targets'}")


@_app.command("failed")
def failed(
    waiting: Annotated[bool, typer.Option("--waiting", help="Those that are still tried instead.")] = False,
    file: ConfigOption = None,
    assignments: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the messages as JSON.")] = False,
) -> None:
    """List messages that a target has refused for good, the newest first; at most 1,000.

    [bold]Examples[/bold]

    fraudengine alerts failed

    fraudengine alerts failed --waiting --json
    """
    from fraudengine.alerts import desk

    with _Opened(_settings(file, assignments)) as outbox:
        found = desk.unsent(outbox, "waiting" if waiting else "failed", _LISTED_MAX)
    if as_json:
        print_json([_message(each) for each in found])
    else:
        rows = [
            (each.message.id, each.target, each.attempts, each.message.title, each.error) for each in found
        ]
        print_table("Messages", ["id", "target", "attempts", "message", "error"], rows)


@_app.command("retry")
def retry(
    target: Annotated[
        list[str] | None, typer.Option("--target", help="Only those of this target; may be repeated.")
    ] = None,
    file: ConfigOption = None,
    assignments: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the number as JSON.")] = False,
) -> None:
    """Send off again what targets have refused, once their settings are mended.

    [bold]Examples[/bold]

    fraudengine alerts retry --target slack
    """
    from fraudengine.alerts import desk

    settings = _settings(file, assignments)
    for name in target or ():
        if name not in settings.alerts.targets:
            raise ConfigError(f"--target {name} is not in alerts.targets")
    with _Opened(settings) as outbox:
        count = desk.retry(outbox, target or list(settings.alerts.targets), _now_ms())
    if as_json:
        print_json({"messages": count})
    notify([f"{count:,} messages are sent off again"])


@_app.command("snooze")
def snooze(
    last: Annotated[str, typer.Option("--for", help="How long, for example 2h; 0s ends a snooze.")],
    card: Annotated[str | None, typer.Option("--card", help="Id of the card.")] = None,
    customer: Annotated[str | None, typer.Option("--customer", help="Id of the customer.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="Id of the device.")] = None,
    merchant: Annotated[str | None, typer.Option("--merchant", help="Id of the merchant.")] = None,
    analyst: Annotated[str, typer.Option("--by", help="Who wants it.")] = "",
    file: ConfigOption = None,
    assignments: SetOption = None,
) -> None:
    """Hold back messages about a card, customer, device or merchant; what comes meanwhile is told afterwards.

    [bold]Examples[/bold]

    fraudengine alerts snooze --card tok_81f3 --for 2h

    fraudengine alerts snooze --card tok_81f3 --for 0s
    """
    from fraudengine.alerts import desk

    given = {"card": card, "customer": customer, "device": device, "merchant": merchant}
    subjects = [f"{entity}:{value}" for entity, value in given.items() if value]
    if len(subjects) != 1:
        raise ConfigError("give exactly one of --card, --customer, --device and --merchant")
    now_ms = _now_ms()
    until_ms = now_ms + int(duration(last).total_seconds() * 1e3)
    with _Opened(_settings(file, assignments)) as outbox:
        desk.snooze(outbox, subjects[0], until_ms, analyst, now_ms)
    notify(
        [f"{subjects[0]} is snoozed for {last}" if until_ms > now_ms else f"{subjects[0]} is snoozed no more"]
    )


class _Opened:
    """The outbox of the settings while a command looks at it."""

    def __init__(self, settings: Settings) -> None:
        from fraudengine.alerts.outbox import Outbox

        self._outbox = Outbox(settings.alerts)

    def __enter__(self) -> Outbox:
        return self._outbox

    def __exit__(self, *_error: object) -> None:
        self._outbox.close()


def _settings(file: Path | None, assignments: list[str] | None, inbox: Path | None = None) -> Settings:
    own: dict[str, object] = {}
    if inbox is not None:
        own = {"alerts.targets": {"inbox": {"kind": "inbox", "folder": inbox}}, "alerts.routes": {}}
    return load_settings(file, assignments, own)


def _message(waiting: Waiting) -> dict[str, object]:
    return {
        "target": waiting.target,
        "attempts": waiting.attempts,
        "error": waiting.error,
        "message": waiting.message.as_data(),
    }


def _now_ms() -> int:
    return int(time.time() * 1e3)


def register(app: typer.Typer) -> None:
    """Add the command and its subcommands to the application."""
    app.add_typer(_app, name="alerts")
