"""Figures from what Redis counts: sums of minutes, and percentiles of histogram and sample. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from fraudengine.stores.records import Counts, Latency

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["counts", "of_histogram", "of_sample"]

_SHARES = (0.5, 0.95, 0.99, 0.999)
_AMOUNT = "amount_minor"
_REFERENCE = "---"
BEYOND = -1
"""A percentile in the last bucket, which has no upper bound."""


def counts(hashes: Iterable[Mapping[str, str]], seconds: float) -> Counts:
    """Return the sum of hashes such as `fraud:counters` and `fraud:minute:N`."""
    added: Counter[str] = Counter()
    amounts: Counter[tuple[str, str | None]] = Counter()
    for each in hashes:
        for name, value in each.items():
            kind, _, rest = name.partition(":")
            if kind == _AMOUNT:
                action, _, currency = rest.partition(":")
                amounts[action, None if currency == _REFERENCE else currency] += int(value)
            else:
                added[name] += int(value)
    return Counts(
        seconds=seconds,
        transactions=added["transactions"],
        approved=added["approved"],
        reviewed=added["reviewed"],
        blocked=added["blocked"],
        amounts=dict(amounts),
    )


def of_histogram(told: Mapping[str, str]) -> Latency | None:
    """Return percentiles of `fraud:latency`, upper bounds of buckets; `None`: nothing was counted."""
    count = int(told.get("count", 0))
    if count == 0:
        return None
    bounds = sorted(int(name) for name in told if name.isdigit())
    buckets = [(bound, int(told[str(bound)])) for bound in bounds]
    return Latency(
        count, int(told.get("sum_micros", 0)) / count, *(_within(buckets, count * share) for share in _SHARES)
    )


def of_sample(latencies: Sequence[int]) -> Latency | None:
    """Return percentiles of latencies; `None`: there are none."""
    if not latencies:
        return None
    ordered = sorted(latencies)
    last = len(ordered) - 1
    percentiles = (ordered[min(last, int(len(ordered) * share))] for share in _SHARES)
    return Latency(len(ordered), sum(ordered) / len(ordered), *percentiles)


def _within(buckets: Iterable[tuple[int, int]], wanted: float) -> int:
    seen = 0
    for bound, count in buckets:
        seen += count
        if seen >= wanted:
            return bound
    return BEYOND
