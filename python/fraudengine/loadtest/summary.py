"""What a load test found, from every single latency: no buckets, no sampling."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from fraudengine.loadtest.plan import Plan

__all__ = ["PERCENTILES", "Sent", "Summary", "percentiles_ms"]

PERCENTILES: Final = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99)
_ACTIONS = ("approve", "review", "block")


class Sent(NamedTuple):
    """What the sender saw.

    Attributes
    ----------
    latencies_ns
        Of each call that was answered, or not within its deadline; from its intended time.
    rejections_ns
        Of each call that ended in another way; from when it was sent.
    delays_ns
        Of each call: how much later than intended it was sent.
    statuses
        Calls by the name of their gRPC status.
    outcomes
        Transactions by what came of them: the names of actions, and `refused`, `degraded`, `repeated`.
    seconds
        From the start to the last answer.
    busy
        Largest share of one processor that a sending thread took.
    """

    latencies_ns: npt.NDArray[np.int64]
    rejections_ns: npt.NDArray[np.int64]
    delays_ns: npt.NDArray[np.int64]
    statuses: dict[str, int]
    outcomes: dict[str, int]
    seconds: float
    busy: float


@dataclass(frozen=True)
class Summary:
    """The result of one load test.

    Attributes
    ----------
    plan
        What was sent.
    seconds
        From the start to the last answer.
    latencies_ns
        Sorted; of the calls that were answered OK or ran into their deadline.
    rejections_ns
        Of the calls that ended in another way, for example because too many were under way; from when they
        were sent.
    delays_ns
        How much later than intended calls were sent: the sender's own share of the latencies.
    sender_busy
        Largest share of one processor that a sending thread took, 0 to 1: near 1 it is the limit.
    statuses
        Calls by gRPC status.
    outcomes
        Transactions by what came of them.
    """

    plan: Plan
    seconds: float
    latencies_ns: npt.NDArray[np.int64]
    rejections_ns: npt.NDArray[np.int64]
    delays_ns: npt.NDArray[np.int64]
    sender_busy: float
    statuses: Counter[str]
    outcomes: Counter[str]

    @classmethod
    def of(cls, plan: Plan, sent: Sent) -> Summary:
        """Return the summary of what was seen."""
        return cls(
            plan=plan,
            seconds=sent.seconds,
            sender_busy=sent.busy,
            latencies_ns=np.sort(sent.latencies_ns),
            rejections_ns=sent.rejections_ns,
            delays_ns=sent.delays_ns,
            statuses=Counter(sent.statuses),
            outcomes=Counter(sent.outcomes),
        )

    @property
    def decided(self) -> int:
        """Transactions with a decision."""
        return sum(self.outcomes[action] for action in _ACTIONS)

    def as_dict(self) -> dict[str, Any]:
        """Return the result as JSON has it; times in milliseconds, None where nothing was measured."""
        plan, decided = self.plan, self.decided
        loop: dict[str, Any] = {"concurrency": plan.concurrency}
        if plan.rate is not None:
            loop = {"rate": plan.rate, "send_delay_ms": percentiles_ms(self.delays_ns)}
        seconds = max(self.seconds, 1e-9)
        return {
            "address": plan.connection.address,
            "loop": "closed" if plan.rate is None else "open",
            **loop,
            "batch": plan.batch,
            "seed": plan.seed,
            "threads": plan.threads,
            "sender_busy": round(self.sender_busy, 3),
            "calls": plan.calls,
            "seconds": round(self.seconds, 3),
            "calls_per_second": round(self.statuses["OK"] / seconds, 1),
            "transactions_per_second": round(decided / seconds, 1),
            "latency_ms": percentiles_ms(self.latencies_ns),
            "rejection_ms": percentiles_ms(self.rejections_ns),
            "statuses": dict(self.statuses),
            "decided": {action: self.outcomes[action] for action in _ACTIONS},
            "refused": self.outcomes["refused"],
            "repeated": self.outcomes["repeated"],
            "degraded": self.outcomes["degraded"],
            "degraded_share": self.outcomes["degraded"] / decided if decided else None,
        }


def percentiles_ms(times_ns: npt.NDArray[np.int64]) -> dict[str, float | None]:
    """Return percentiles, mean and maximum in milliseconds; each percentile is a time that was measured."""
    names = [f"p{each:g}" for each in PERCENTILES]
    if not len(times_ns):
        return dict.fromkeys([*names, "max", "mean"])
    found = np.percentile(times_ns, PERCENTILES, method="higher") / 1e6
    told: dict[str, float | None] = {
        name: round(float(value), 3) for name, value in zip(names, found, strict=True)
    }
    return {
        **told,
        "max": round(float(times_ns.max()) / 1e6, 3),
        "mean": round(float(times_ns.mean()) / 1e6, 3),
    }
