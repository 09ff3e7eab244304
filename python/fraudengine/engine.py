"""The native engine as Python sees it: frames in, decisions out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from fraudengine import _native

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt
    import polars as pl

    from fraudengine.activation import Activation

__all__ = ["Action", "Decisions", "Engine", "Flag", "Reasons", "Rejection"]


class Action(IntEnum):
    """What to do with a transaction."""

    APPROVE = 0
    REVIEW = 1
    BLOCK = 2


class Flag(IntFlag):
    """How a decision came about."""

    DUPLICATE = 1
    """The id was decided before: this is the first decision again, and nothing was counted."""
    LATE = 2
    """Behind the newest event by more than the lateness bound: decided, but in no window."""
    APPROXIMATE = 4
    """Some window of a very busy entity was read from panes of 1/64 of its width."""
    REJECTED = 128
    """The record broke the schema; it has no decision."""


class Reasons(NamedTuple):
    """Why rows were not approved: one entry per reason, by row and then largest first.

    At most four a row. Contributions follow Saabas: along each tree's path the change of the expected
    margin is credited to the feature that was asked.
    """

    row: npt.NDArray[np.uint64]
    """Row in the frame that was handed in."""
    feature: npt.NDArray[np.uint16]
    """Column of the feature; the number of features stands for the anomaly of the isolation forest."""
    contribution: npt.NDArray[np.float32]
    """What it added to the margin, in log odds, positive."""


class Rejection(NamedTuple):
    """A record that broke the schema."""

    row: int
    """Row in the frame that was handed in, from 0."""
    field: str
    """Name of the field at fault."""
    code: str
    """Stable code of the rule that was broken."""
    message: str
    """The rule with the value."""


@dataclass(frozen=True)
class Decisions:
    """Decisions of one call, row by row.

    Attributes
    ----------
    score
        `float32`, calibrated probability of fraud, 0 to 1; NaN without a model.
    margin
        `float32`, log odds of the ensemble; NaN without a model and for repeated ids.
    anomaly
        `float32`, anomaly score of the isolation forest, 0 to 1; NaN without a forest.
    action
        `uint8`, values of `Action`.
    flags
        `uint8`, bits of `Flag`.
    reasons
        Why rows were not approved.
    rejected, rejected_labels
        Records that broke the schema.
    features
        `float32` of shape `(rows, features)`, or `None` when not asked for.

    """

    score: npt.NDArray[np.float32]
    margin: npt.NDArray[np.float32]
    anomaly: npt.NDArray[np.float32]
    action: npt.NDArray[np.uint8]
    flags: npt.NDArray[np.uint8]
    reasons: Reasons
    rejected: list[Rejection]
    rejected_labels: list[Rejection]
    features: npt.NDArray[np.float32] | None


class Engine:
    """The deterministic fold over transactions and labels.

    Parameters
    ----------
    lateness
        How far behind the newest event a transaction may be and still enter its windows, 0 to 7 days.
    entities_max
        Bound on live entities of each kind; at the bound the least recently seen make room.
    memory_max_bytes
        Bound on the bytes of all tables together, at least 134,217,728, or 0 for none; at the bound the least
        recently seen make room.
    reference_currency
        ISO 4217 code; windows add amounts in this currency.
    rates
        Value of one unit of other currencies in units of the reference currency. A transaction in a
        currency without a rate is rejected.
    threads
        Native threads, 1 to 64; the decisions do not depend on it.

    Raises
    ------
    ConfigError
        A setting is outside its range.

    """

    def __init__(
        self,
        *,
        lateness: timedelta = timedelta(hours=1),
        entities_max: int = 8_388_608,
        memory_max_bytes: int = 8_589_934_592,
        reference_currency: str = "EUR",
        rates: Mapping[str, float] | None = None,
        threads: int = 1,
    ) -> None:
        self._native = _native.Engine(
            lateness_micros=lateness // timedelta(microseconds=1),
            entities_max=entities_max,
            memory_max_bytes=memory_max_bytes,
            reference_currency=reference_currency,
            rates=_millionths(rates),
            threads=threads,
        )

    @classmethod
    def restore(
        cls,
        snapshot: bytes,
        *,
        memory_max_bytes: int | None = None,
        reference_currency: str = "EUR",
        rates: Mapping[str, float] | None = None,
        threads: int = 1,
    ) -> Self:
        """Continue from a snapshot, bit for bit like the engine that wrote it.

        With another `memory_max_bytes` than that engine's, the least recently seen entities above it are
        evicted.

        Raises
        ------
        SnapshotError
            The bytes are truncated, corrupt, or of another layout or feature catalogue.

        """
        engine = cls.__new__(cls)
        engine._native = _native.Engine.restore(
            snapshot,
            memory_max_bytes=memory_max_bytes,
            reference_currency=reference_currency,
            rates=_millionths(rates),
            threads=threads,
        )
        return engine

    def snapshot(self) -> bytes:
        """Return the whole state as bytes, labels that are not due yet excepted."""
        return self._native.snapshot()

    def activate(self, model: Activation) -> str:
        """Decide with a model from the next transaction on; `fraudengine.bundle.Bundle.activation` makes one.

        Parameters
        ----------
        model
            The model and its policy. The hash is not looked at.

        Returns
        -------
        str
            The name of the backend in use.

        Raises
        ------
        ModelError
            The ensemble is malformed, reads another number of features, or the backend cannot run it.
        CompileError
            A library cannot be opened or does not fit the ensemble.
        ConfigError
            Calibration or thresholds are outside their range.

        """
        return self._native.activate(model)

    def process(
        self, transactions: pl.DataFrame, labels: pl.DataFrame | None = None, *, features: bool = False
    ) -> Decisions:
        """Decide transactions in the order of the frame.

        Parameters
        ----------
        transactions
            Canonical columns (see `fraudengine.schema`).
        labels
            Canonical columns with `known_time` and `is_fraud`; each waits until a transaction at or
            after its `known_time` arrives, in this call or a later one.
        features
            Also return the feature matrix.

        Raises
        ------
        SchemaError
            A required column is missing or a column has a type that is not accepted.

        """
        result = self._native.process(transactions, labels, features=features)
        return Decisions(
            score=result["score"],
            margin=result["margin"],
            anomaly=result["anomaly"],
            action=result["action"],
            flags=result["flags"],
            reasons=Reasons(result["reason_row"], result["reason_feature"], result["reason_contribution"]),
            rejected=[Rejection(*each) for each in result["rejected"]],
            rejected_labels=[Rejection(*each) for each in result["rejected_labels"]],
            features=result.get("features"),
        )

    def customer_windows(self, customer_id: str) -> dict[str, float] | None:
        """Return what the windows of a customer hold at the newest event time there was.

        Parameters
        ----------
        customer_id
            As sent with the transactions.

        Returns
        -------
        dict or None
            Values of the 17 features of the customer that say something between two transactions
            (`customer_count_*`, `customer_sum_*`, `customer_hours_since_last` and others), by their names,
            units and meanings in the catalogue; NaN where nothing is known. `None`: no such customer is kept.

        """
        return self._native.customer_windows(customer_id)

    def stats(self) -> dict[str, Any]:
        """Return counters, and for each entity kind its live entities, bytes and evictions."""
        return self._native.stats()


def _millionths(rates: Mapping[str, float] | None) -> dict[str, int]:
    return {currency: round(rate * 1_000_000) for currency, rate in (rates or {}).items()}
