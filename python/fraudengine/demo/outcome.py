"""What decisions came to, held against what really happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

__all__ = ["TRUTH", "Outcome", "by_kind", "examples", "outcome"]

TRUTH: Final = ("amount_minor", "is_fraud", "typology")
"""Columns of a history that tell what really happened."""
_EXAMPLES: Final = 8


@dataclass(frozen=True)
class Outcome:
    """What the decisions of some transactions came to.

    Attributes
    ----------
    transactions, frauds
        How many there were.
    caught, blocked
        Frauds that were reviewed or blocked, and that were blocked.
    disturbed, wrongly_blocked
        Genuine transactions that were reviewed or blocked, and that were blocked.
    at_stake_minor, stopped_minor, blocked_minor
        Money of all frauds, of those caught, and of those blocked, in minor units.
    disturbed_minor, wrongly_blocked_minor
        Money of `disturbed` and of `wrongly_blocked`.

    """

    transactions: int = 0
    frauds: int = 0
    caught: int = 0
    blocked: int = 0
    disturbed: int = 0
    wrongly_blocked: int = 0
    at_stake_minor: int = 0
    stopped_minor: int = 0
    blocked_minor: int = 0
    disturbed_minor: int = 0
    wrongly_blocked_minor: int = 0

    @property
    def detection_rate(self) -> float:
        """Caught frauds over all frauds, 0 to 1; NaN without fraud."""
        return self.caught / self.frauds if self.frauds else float("nan")

    @property
    def false_positive_rate(self) -> float:
        """Disturbed genuine transactions over all genuine ones, 0 to 1; NaN without any."""
        genuine = self.transactions - self.frauds
        return self.disturbed / genuine if genuine else float("nan")

    @property
    def missed_minor(self) -> int:
        """Money of the frauds that were approved, in minor units."""
        return self.at_stake_minor - self.stopped_minor

    @property
    def stopped_share(self) -> float:
        """Money stopped over money at stake, 0 to 1; NaN without fraud."""
        return self.stopped_minor / self.at_stake_minor if self.at_stake_minor else float("nan")


def outcome(rows: pl.DataFrame) -> Outcome:
    """Count decisions.

    Parameters
    ----------
    rows
        `action` (`approve`, `review`, `block`) and the columns of `TRUTH`.

    """
    fraud, amount = pl.col("is_fraud") == 1, pl.col("amount_minor")
    flagged, blocked = pl.col("action") != "approve", pl.col("action") == "block"
    counts = rows.select(
        transactions=pl.len(),
        frauds=fraud.sum(),
        caught=(fraud & flagged).sum(),
        blocked=(fraud & blocked).sum(),
        disturbed=(~fraud & flagged).sum(),
        wrongly_blocked=(~fraud & blocked).sum(),
        at_stake_minor=amount.filter(fraud).sum(),
        stopped_minor=amount.filter(fraud & flagged).sum(),
        blocked_minor=amount.filter(fraud & blocked).sum(),
        disturbed_minor=amount.filter(~fraud & flagged).sum(),
        wrongly_blocked_minor=amount.filter(~fraud & blocked).sum(),
    )
    return Outcome(**counts.row(0, named=True))


def by_kind(rows: pl.DataFrame) -> dict[str, Outcome]:
    """Count the decisions of each kind of fraud, by its name, in the order of the names."""
    frauds = rows.filter(pl.col("is_fraud") == 1)
    return {str(name): outcome(part) for (name,), part in sorted(frauds.group_by("typology"))}


def examples(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the highest score of each kind of fraud that was caught: a stranger sees one of each."""
    caught = rows.filter((pl.col("is_fraud") == 1) & (pl.col("action") != "approve"))
    best = caught.sort("score", descending=True).group_by("typology", maintain_order=True).first()
    columns = ["transaction_id", "amount_minor", "score", "action", "typology", "reasons"]
    return best.head(_EXAMPLES).select(columns)
