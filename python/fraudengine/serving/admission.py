"""How much is let in: a count of calls and of transactions that are under way, and what is said beyond it.

What waits is bounded before it is decoded, so under overload an accepted call waits no longer than the bound
takes, and a refused one knows at once. A call that is refused here is told when to come again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import grpc

from fraudengine.serving.refusals import refuse, retry_later

if TYPE_CHECKING:
    from fraudengine.serving.metrics import Metrics

__all__ = ["Admission"]

_RETRY_SECONDS = 0.1


class Admission:
    """What is under way, over all services of one server. Used from the event loop only.

    Parameters
    ----------
    calls_max
        Most calls.
    rows_max
        Most transactions or feature vectors in calls that carry several. Where no such call is under way, one
        is let in however many it carries.
    metrics
        What is counted.

    """

    def __init__(self, calls_max: int, rows_max: int, metrics: Metrics) -> None:
        self._calls_max = calls_max
        self._rows_max = rows_max
        self._calls = 0
        self._rows = 0
        self._metrics = metrics

    def enter(self, rows: int = 0) -> bool:
        """Let a call in; it must `leave` with the same `rows` (0: it carries one transaction at a time)."""
        if self._calls >= self._calls_max or (rows and self._rows and self._rows + rows > self._rows_max):
            return False
        self._calls += 1
        self._rows += rows
        return True

    def leave(self, rows: int = 0) -> None:
        """Count a call that was let in as ended."""
        self._calls -= 1
        self._rows -= rows

    async def turn_away(self, context: grpc.aio.ServicerContext) -> NoReturn:
        """End a call that was not let in."""
        self._metrics.denied.labels("overload").inc()
        message = "the service is at its bound of calls or transactions under way"
        code = grpc.StatusCode.RESOURCE_EXHAUSTED
        await refuse(context, code, "OVERLOADED", message, retry_later(_RETRY_SECONDS))
