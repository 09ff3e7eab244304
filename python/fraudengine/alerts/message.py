"""A message: what one target is told about one group. Frozen when it is made, the same at every attempt.

Ids in it are texts that somebody else chose. They are shown clipped, without characters that could end a
line, hide or reorder text, and never where they look like a card number (the engine refuses those already).
"""

from __future__ import annotations

import json
import unicodedata
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Self

from fraudengine import _native
from fraudengine.alerts.rollup import Payment, Rollup
from fraudengine.alerts.routing import OTHERS
from fraudengine.datasets.amounts import minor_digits

__all__ = ["Message", "plain"]

_TEXT_MAX = 128
_REASONS_SHOWN = 5


def plain(text: str) -> str:
    """Return a foreign text as it may stand in a message: one line, visible characters, no card number."""
    if _native.is_card_number(text):
        return "(card number)"
    shown = "".join(
        each if unicodedata.category(each)[0] not in "CZ" or each == " " else "\ufffd" for each in text
    )
    return shown if len(shown) <= _TEXT_MAX else f"{shown[: _TEXT_MAX - 1]}\u2026"


@dataclass(frozen=True, slots=True)
class Message:
    """See the module's text.

    Attributes
    ----------
    id
        Random; in every form of the message, so that a repetition is seen as one.
    thread
        Id of the first message of the group.
    number
        1 for the first message of the group, then 2, 3, ...
    route
        Name of the route.
    subject
        What was grouped: `ENTITY:ID`, or `others`.
    rollup
        The alerts that it tells of.
    alerts_before
        Alerts that the messages before it told of.
    made_ms
        When it was made, milliseconds since 1970.

    """

    id: str
    thread: str
    number: int
    route: str
    subject: str
    rollup: Rollup
    alerts_before: int
    made_ms: int

    def to_json(self) -> str:
        """Return it as text."""
        told = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps({**told, "rollup": self.rollup.to_json()})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return what `to_json` was made of."""
        told = json.loads(text)
        return cls(**{**told, "rollup": Rollup.from_json(told["rollup"])})

    @property
    def made(self) -> datetime:
        """When it was made."""
        return datetime.fromtimestamp(self.made_ms / 1e3, UTC)

    @property
    def title(self) -> str:
        """One line."""
        count = self.rollup.alerts
        more = "more " if self.number > 1 else ""
        return f"{count:,} {more}alert{'s' * (count != 1)}: {self._subject()} ({self._by_action()})"

    @property
    def text(self) -> str:
        """Some lines, the title not among them."""
        rollup = self.rollup
        lines = [
            f"{action}: {rollup.counts[action]:,} for {_money(rollup.amounts.get(action, {}))}"
            for action in sorted(rollup.counts)
        ]
        first, last = _moment(rollup.first_micros), _moment(rollup.last_micros)
        lines.append(f"payments of {first}" if first == last else f"payments from {first} to {last}")
        if rollup.score_max is not None:
            lines.append(f"highest score: {rollup.score_max:.4f}")
        if rollup.reasons:
            shown = [
                f"{plain(name)} ({count:,})" for name, count in rollup.reasons.most_common(_REASONS_SHOWN)
            ]
            lines.append(f"reasons: {', '.join(shown)}")
        lines += [f"newest: {_payment(each)}" for each in rollup.newest]
        if self.number > 1:
            lines.append(f"message {self.number} of this group, {self.alerts_before:,} alerts before it")
        lines.append(f"route {self.route}, message id {self.id}")
        return "\n".join(lines)

    def as_data(self) -> dict[str, Any]:
        """Return it for programs, see `docs/alerts.md`."""
        rollup = self.rollup
        entity, _, value = self.subject.partition(":")
        return {
            "id": self.id,
            "thread": self.thread,
            "number": self.number,
            "route": self.route,
            "group": {"by": entity, "value": plain(value)},
            "alerts": rollup.alerts,
            "alerts_before": self.alerts_before,
            "alerts_by_action": dict(rollup.counts),
            "amounts_minor": {action: dict(sums) for action, sums in rollup.amounts.items()},
            "first_event_time_micros": rollup.first_micros,
            "last_event_time_micros": rollup.last_micros,
            "score_max": rollup.score_max,
            "reasons": {plain(name): count for name, count in rollup.reasons.most_common()},
            "newest": [
                {
                    key: plain(value) if isinstance(value, str) else value
                    for key, value in asdict(each).items()
                }
                for each in rollup.newest
            ],
            "made_ms": self.made_ms,
            "title": self.title,
            "text": self.text,
        }

    def _subject(self) -> str:
        entity, _, value = self.subject.partition(":")
        return "many (too many groups)" if entity == OTHERS else f"{entity} {plain(value)}"

    def _by_action(self) -> str:
        return ", ".join(f"{action} {count:,}" for action, count in sorted(self.rollup.counts.items()))


def _payment(each: Payment) -> str:
    at = f" at {plain(each.merchant_id)}" if each.merchant_id else ""
    money = f"{each.currency} {_amount(each.currency, each.amount_minor)}"
    return f"{plain(each.transaction_id)}, {each.action}, {money} by {plain(each.customer_id)}{at}"


def _money(sums: dict[str, int]) -> str:
    return (
        ", ".join(f"{currency} {_amount(currency, sums[currency])}" for currency in sorted(sums)) or "nothing"
    )


def _amount(currency: str, minor: int) -> str:
    digits = minor_digits(currency)
    whole, part = divmod(minor, 10**digits)
    return f"{whole:,}.{part:0{digits}}" if digits else f"{whole:,}"


def _moment(micros: int) -> str:
    return f"{datetime.fromtimestamp(micros // 1_000_000, UTC):%Y-%m-%d %H:%M:%S} UTC"
