"""Batches sent at a rate, whatever comes back; and how each call ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count, cycle, islice
from typing import Any

import grpc
from load_requests import requests

from fraudengine.loadtest.requests import pool

__all__ = ["Call", "Sender", "percentile"]

_MARK = b"@@@@@@@@"
_TEMPLATES = 64
_METHOD = "/fraudengine.v1.ScoringService/ScoreBatch"


@dataclass(frozen=True)
class Call:
    """How one call ended.

    Attributes
    ----------
    at
        When it was to be sent, seconds from the start.
    milliseconds
        From then to its end.
    code
        Name of its status.
    late_ms
        How much later than that it was sent, because the sender was busy.

    """

    at: float
    milliseconds: float
    code: str
    late_ms: float = 0.0


class Sender:
    """Sends `ScoreBatch`; every transaction has an id of its own.

    Parameters
    ----------
    channel
        To the service.
    batch
        Transactions of a call.

    """

    def __init__(self, channel: grpc.Channel, batch: int) -> None:
        self._call = channel.unary_unary(_METHOD)
        made = requests(pool(1, _TEMPLATES * batch), _MARK.decode(), batch)
        self._templates = list(islice(made, _TEMPLATES))
        self._requests = self._stock()

    def closed(self, callers: int, seconds: float) -> list[Call]:
        """Keep `callers` calls under way."""
        ended: list[Call] = []
        start = time.monotonic()

        def one() -> None:
            while (now := time.monotonic()) < start + seconds:
                call = self._call.future(next(self._requests), timeout=60)
                call.exception()
                ended.append(_call(now, now, start, call))

        threads = [threading.Thread(target=one) for _ in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return ended

    def open(self, rate: float, seconds: float) -> list[Call]:
        """Begin `rate` calls in a second, evenly spaced."""
        total = round(rate * seconds)
        ended: list[Call] = []
        all_ended = threading.Semaphore(0)
        start = time.monotonic()

        def done(due: float, sent: float, call: Any) -> None:
            ended.append(_call(due, sent, start, call))
            all_ended.release()

        for number in range(total):
            due = start + number / rate
            if (left := due - time.monotonic()) > 0:
                time.sleep(left)
            request, sent = next(self._requests), time.monotonic()
            self._call.future(request, timeout=60).add_done_callback(partial(done, due, sent))
        for _ in range(total):
            assert all_ended.acquire(timeout=90)
        return ended

    def _stock(self) -> Iterator[bytes]:
        numbers = count()
        for template in cycle(self._templates):
            yield template.replace(_MARK, b"%08d" % next(numbers))


def _call(due: float, sent: float, start: float, call: Any) -> Call:
    return Call(due - start, (time.monotonic() - due) * 1e3, call.code().name, (sent - due) * 1e3)


def percentile(calls: list[Call], share: float) -> float:
    """Return the milliseconds that this share of the calls stayed below; NaN without calls."""
    ordered = sorted(call.milliseconds for call in calls)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")
