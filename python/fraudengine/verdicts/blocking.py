"""Verdicts for programs that wait, such as a dashboard: in the event loop of their stores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from fraudengine.verdicts.deciding import Verdicts
from fraudengine.verdicts.topic import LabelTopic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fraudengine.config import Settings
    from fraudengine.stores.blocking import BlockingStores
    from fraudengine.verdicts.deciding import Outcome

__all__ = ["BlockingVerdicts"]


class BlockingVerdicts:
    """Takes verdicts synchronously, from any thread; a context manager that closes its Kafka client.

    Parameters
    ----------
    settings
        Effective settings: brokers and topic are those of `[kafka]`.
    stores
        Where alerts and audit are; stays open.
    seconds
        Longest time that a verdict takes, above 0.

    """

    def __init__(self, settings: Settings, stores: BlockingStores, *, seconds: float = 10.0) -> None:
        self._stores = stores
        self._seconds = seconds
        self._topic = LabelTopic(settings)

    def decide(
        self, transaction_ids: Sequence[str], *, is_fraud: bool, actor: str, note: str | None = None,
        typology: str | None = None,
    ) -> tuple[Outcome, ...]:  # fmt: skip
        """Take a verdict on transactions; see `Verdicts.decide`."""
        return self._stores.run(
            lambda stores: Verdicts(stores, self._topic).decide(
                transaction_ids, is_fraud=is_fraud, actor=actor, note=note, typology=typology,
                seconds=self._seconds,
            )
        )  # fmt: skip

    def snooze(
        self, transaction_ids: Sequence[str], until_micros: int, *, actor: str, note: str | None = None
    ) -> tuple[Outcome, ...]:
        """Let alerts sleep until a time; see `Verdicts.snooze`."""
        return self._stores.run(
            lambda stores: Verdicts(stores, self._topic).snooze(
                transaction_ids, until_micros, actor=actor, note=note, seconds=self._seconds
            )
        )

    def note(self, transaction_id: str, note: str, *, actor: str) -> Outcome:
        """Put a note on an alert; see `Verdicts.note`."""
        return self._stores.run(
            lambda stores: Verdicts(stores, self._topic).note(
                transaction_id, note, actor=actor, seconds=self._seconds
            )
        )

    def close(self) -> None:
        """Close the Kafka client; what is not acknowledged yet is given a second."""
        self._topic.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close."""
        self.close()
