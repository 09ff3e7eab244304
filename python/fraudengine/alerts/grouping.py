"""When a group of alerts becomes a message: one at first, then roll-ups at a bounded rate. Pure.

A group is what one target is told about one subject on one route. Times are milliseconds since 1970.

    nothing --alerts--> gathering --due--> sending --accepted--> quiet --due--> forgotten
                            ^                 |                     |
                            +---- alerts while sending, or quiet ---+

At any time a group has at most one message on its way, which never changes: what comes meanwhile is gathered
for the next one. So an outage of a target makes one late message of a group, not a heap of them, and memory
is bounded by the number of groups.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from fraudengine.alerts.rollup import Rollup

__all__ = ["Group", "Pace", "Step", "gathered", "made", "settled", "step"]


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the first message waits for more, and how far apart two messages are; milliseconds."""

    wait_ms: int
    interval_ms: int


@dataclass(frozen=True, slots=True)
class Group:
    """Where a group stands.

    Attributes
    ----------
    due_ms
        Not before this is the next message made.
    pending
        Alerts that no message has told of yet; `None`: there are none.
    sending
        Id of the message that is on its way; `None`: there is none.
    messages
        Messages made so far.
    alerts
        Alerts that they told of.
    thread
        Id of the first of them.

    """

    due_ms: int
    pending: Rollup | None
    sending: str | None = None
    messages: int = 0
    alerts: int = 0
    thread: str | None = None


class Step(Enum):
    """What to do with a group."""

    WAIT = "wait"
    """Nothing yet."""
    SEND = "send"
    """Make a message of what is pending."""
    FORGET = "forget"
    """It was silent for an interval: the next alert begins a new group."""


def gathered(group: Group | None, more: Rollup, pace: Pace, now_ms: int, snoozed_until_ms: int) -> Group:
    """Return a group, or the beginning of one, with more alerts; a snooze puts off its next message."""
    if group is None:
        return Group(max(now_ms + pace.wait_ms, snoozed_until_ms), more)
    due_ms = max(group.due_ms, snoozed_until_ms)
    if group.pending is None:
        # The first alert after a message waits for others too, where the interval is over already.
        return replace(group, due_ms=max(due_ms, now_ms + pace.wait_ms), pending=more)
    group.pending.add(more)
    return replace(group, due_ms=due_ms)


def step(group: Group, now_ms: int) -> Step:
    """Return what to do now."""
    if group.sending is not None or now_ms < group.due_ms:
        return Step.WAIT
    return Step.FORGET if group.pending is None else Step.SEND


def made(group: Group, message_id: str, alerts: int) -> Group:
    """Return a group whose pending alerts, so many, have become a message."""
    return replace(
        group,
        pending=None,
        sending=message_id,
        messages=group.messages + 1,
        alerts=group.alerts + alerts,
        thread=group.thread or message_id,
    )


def settled(group: Group, pace: Pace, now_ms: int) -> Group:
    """Return a group whose message has arrived, or never will."""
    return replace(group, sending=None, due_ms=max(group.due_ms, now_ms + pace.interval_ms))
