"""A verdict: the label goes to Kafka, the alert is closed, the audit says who; done means all three.

Inside one database transaction the alert is locked and looked at, the label is sent, and only what the broker
has acknowledged is written and committed. What can fail between:

* Kafka takes no label: nothing is written, the alert stays open, and the caller is told.
* PostgreSQL cannot commit: the label is in the topic, the alert is still open, and the caller is told. The
  verdict is given again; a label that comes twice counts once.
* Nobody knows (a time limit): as above.

A verdict that an alert has already is not sent again, so that a second click does nothing.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from fraudengine.errors import ConfigError, InputError, StoreError
from fraudengine.stores.casebook import NO_ALERT, Case, Casebook, Change
from fraudengine.verdicts.checks import checked_names
from fraudengine.verdicts.record import VERDICTS, analyst_label, now_micros, source_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import psycopg

    from fraudengine.stores.postgres import Postgres
    from fraudengine.stores.reader import Stores
    from fraudengine.verdicts.topic import LabelTopic
    from fraudengine.wire.label_pb2 import Label

__all__ = ["Outcome", "Verdicts"]

_SNOOZE_DAYS_MAX = 365
# Kafka gives up first, so that its own reason is told.
_KAFKA_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one transaction.

    Attributes
    ----------
    transaction_id
        Which.
    state
        `done`; `already` (it had that verdict, or a verdict when it was to be snoozed); `missing` (there is
        no such transaction); `failed` (nothing was written, `reason` says why).
    label_offset
        Of the label in its topic; `None`: none was sent.
    reason
        Why it failed, for people.

    """

    transaction_id: str
    state: Literal["done", "already", "missing", "failed"]
    label_offset: int | None = None
    reason: str | None = None


class Verdicts:
    """Takes verdicts. Made and used inside one event loop.

    Parameters
    ----------
    stores
        Where alerts and audit are.
    topic
        Where labels go.

    """

    def __init__(self, stores: Stores, topic: LabelTopic) -> None:
        self._stores = stores
        self._topic = topic

    async def decide(
        self,
        transaction_ids: Sequence[str],
        *,
        is_fraud: bool,
        actor: str,
        note: str | None = None,
        typology: str | None = None,
        seconds: float,
    ) -> tuple[Outcome, ...]:
        """Take an analyst's verdict on transactions, at most `AT_ONCE_MAX`; return what became of each.

        Raises
        ------
        InputError
            Actor or note cannot be stored, or there are too many.
        StoreError
            Nothing is known to be done: Kafka takes no label, or PostgreSQL does not answer.
        ConfigError
            `postgres.enabled` is false.

        """
        names = checked_names(transaction_ids, actor, note)
        history, queue = self._stores.history, self._stores.queue
        if history is None or queue is None:
            raise ConfigError("postgres.enabled is false: there are no alerts")
        until = time.monotonic() + seconds
        known = await queue.get(names, seconds=seconds)
        approved = {
            name: await history.find(name, seconds=_left(until)) for name in names if name not in known
        }

        def label(case: Case | None, name: str) -> Label | None:
            transaction = approved.get(name) if case is None else case.transaction
            if transaction is None:
                return None
            return analyst_label(transaction, is_fraud=is_fraud, actor=actor, typology=typology)

        return await self._decided(names, label, note, once=True, seconds=_left(until))

    async def submit(self, label: Label, *, seconds: float) -> int:
        """Take a label from wherever it comes; return its offset. It is sent even where it changes nothing.

        Raises
        ------
        StoreError, ConfigError
            As in `decide`.

        """
        name = label.transaction_id
        (outcome,) = await self._decided(
            [name], lambda _case, _name: label, None, once=False, seconds=seconds
        )
        if outcome.label_offset is None:
            raise StoreError("kafka", outcome.reason or "the label was not sent")
        return outcome.label_offset

    async def snooze(
        self,
        transaction_ids: Sequence[str],
        until_micros: int,
        *,
        actor: str,
        note: str | None = None,
        seconds: float,
    ) -> tuple[Outcome, ...]:
        """Let alerts sleep until a time, at most a year from now; return what became of each.

        Raises
        ------
        InputError, StoreError, ConfigError
            As in `decide`; or the time is past or too far.

        """
        names = checked_names(transaction_ids, actor, note)
        now = now_micros()
        if not now < until_micros <= now + _SNOOZE_DAYS_MAX * 86_400_000_000:
            raise InputError(
                f"snoozed_until is {until_micros}, must be after {now} and within {_SNOOZE_DAYS_MAX} days"
            )

        async def work(connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> tuple[Outcome, ...]:
            book = Casebook(connection)
            cases = await book.locked(names)
            changes = [
                Change(actor, name, "snooze", case.state, "snoozed", note)
                for name, case in cases.items()
                if case.alert.verdict is None
            ]
            await book.snooze(changes, until_micros)
            return tuple(
                Outcome(name, "missing" if name not in cases else _snoozed(cases[name])) for name in names
            )

        return await self._postgres.written(work, seconds=seconds)

    async def note(self, transaction_id: str, note: str, *, actor: str, seconds: float) -> Outcome:
        """Put a note on an alert.

        Raises
        ------
        InputError, StoreError, ConfigError
            As in `decide`.

        """
        checked_names([transaction_id], actor, note)

        async def work(connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> Outcome:
            book = Casebook(connection)
            case = (await book.locked([transaction_id])).get(transaction_id)
            if case is None:
                return Outcome(transaction_id, "missing")
            if case.alert.note == note:
                return Outcome(transaction_id, "already")
            await book.note(Change(actor, transaction_id, "note", case.state, case.state, note))
            return Outcome(transaction_id, "done")

        return await self._postgres.written(work, seconds=seconds)

    async def _decided(
        self,
        names: Sequence[str],
        label_of: Callable[[Case | None, str], Label | None],
        note: str | None,
        *,
        once: bool,
        seconds: float,
    ) -> tuple[Outcome, ...]:
        until = time.monotonic() + seconds

        async def work(connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> tuple[Outcome, ...]:
            book = Casebook(connection)
            cases = await book.locked(names)
            labels = {name: label for name in names if (label := label_of(cases.get(name), name)) is not None}
            outcomes = {name: Outcome(name, "missing") for name in names}
            same = {
                name
                for name, label in labels.items()
                if name in cases and cases[name].state == VERDICTS[label.is_fraud]
            }
            if once:
                outcomes |= {name: Outcome(name, "already") for name in same}
            wanted = {name: label for name, label in labels.items() if not (once and name in same)}
            sent = await self._sent(wanted, _left(until) * _KAFKA_SHARE)
            outcomes |= sent
            changed = [name for name, each in sent.items() if each.state == "done" and name not in same]
            await book.close(
                [_change(labels[name], cases.get(name), note, sent[name].label_offset) for name in changed]
            )
            return tuple(outcomes[name] for name in names)

        return await self._postgres.written(work, seconds=seconds)

    async def _sent(self, labels: Mapping[str, Label], seconds: float) -> dict[str, Outcome]:
        """Send labels; return what became of each. None of several taken is an error of all."""
        answers = await asyncio.gather(
            *(self._topic.send(label, seconds) for label in labels.values()), return_exceptions=True
        )
        outcomes = {}
        failures = []
        for name, answer in zip(labels, answers, strict=True):
            if isinstance(answer, StoreError):
                failures.append(answer)
                outcomes[name] = Outcome(name, "failed", reason=str(answer))
            elif isinstance(answer, BaseException):
                raise answer
            else:
                outcomes[name] = Outcome(name, "done", answer)
        if failures and len(failures) == len(labels):
            raise failures[0]
        return outcomes

    @property
    def _postgres(self) -> Postgres:
        if self._stores.postgres is None:
            raise ConfigError("postgres.enabled is false: there are no alerts")
        return self._stores.postgres


def _snoozed(case: Case) -> Literal["done", "already"]:
    return "done" if case.alert.verdict is None else "already"


def _change(label: Label, case: Case | None, note: str | None, label_offset: int | None) -> Change:
    return Change(
        actor=_actor(label),
        transaction_id=label.transaction_id,
        what="verdict",
        from_state=NO_ALERT if case is None else case.state,
        to_state=VERDICTS[label.is_fraud],
        note=note,
        label_offset=label_offset,
    )


def _actor(label: Label) -> str:
    """Return who says so for the audit, where a label may not name anybody."""
    if label.HasField("actor"):
        return label.actor
    return source_name(label) or "unknown"


def _left(until: float) -> float:
    return max(0.0, until - time.monotonic())
