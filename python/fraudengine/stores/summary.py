"""Figures from what Redis counts: sums of minutes, and percentiles of histogram and sample. Pure."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from fraudengine.stores.records import Counts, Latency

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["counts", "latencies", "of_histogram", "of_sample", "within"]

_SHARES = (0.5, 0.95, 0.99, 0.999)
_AMOUNT = "amount_minor"
_LATENCY = "latency"
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
            elif kind != _LATENCY:
                added[name] += int(value)
    return Counts(
        seconds=seconds,
        transactions=added["transactions"],
        approved=added["approved"],
        reviewed=added["reviewed"],
        blocked=added["blocked"],
        amounts=dict(amounts),
    )


def latencies(minute: Mapping[str, str]) -> dict[float, int]:
    """Return the latencies of `fraud:minute:N`: decisions by the upper bound of their bucket."""
    told = ((name.partition(":"), value) for name, value in minute.items())
    return {float(bound): int(value) for (kind, _, bound), value in told if kind == _LATENCY}


def within(buckets: Mapping[float, int], share: float) -> float | None:
    """Return the latency in microseconds that a share of the decisions is within; `None`: there are none.

    Inside its bucket it is estimated as if latencies there were spread evenly; in the last one, which has no
    upper bound, it is infinite.
    """
    wanted = sum(buckets.values()) * share
    seen, low = 0, 0.0
    for bound, count in sorted(buckets.items()):
        if count and seen + count >= wanted:
            return bound if math.isinf(bound) else low + (bound - low) * (wanted - seen) / count
        seen, low = seen + count, bound
    return None


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
