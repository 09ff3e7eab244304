"""Single calls to a service in front of the stream, in open loop, and what became of them.

Used by `tests/e2e/test_serving_outage.py` and `benchmarks/serve_stream.py`.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import grpc
from child_process import children_of

from fraudengine.services.state import State
from fraudengine.wire.decision_pb2 import Decision
from fraudengine.wire.log_pb2 import DecisionRecord
from fraudengine.wire.scoring_pb2 import ScoreRequest, ScoreResponse
from fraudengine.wire.transaction_pb2 import Transaction

__all__ = ["Calls", "compared", "send_with_stalls"]

_SCORE = "/fraudengine.v1.ScoringService/Score"
_PAUSE_SECONDS = 2.0
_STALL_SECONDS = 1.0


class Calls:
    """Calls, each measured from the time at which it should be sent.

    Parameters
    ----------
    address
        Of the service.
    timeout
        Deadline of a call, seconds.
    event_time
        Returns the event time of a transaction, microseconds; the clock's unless given.

    """

    def __init__(self, address: str, timeout: float, event_time: Callable[[], int] | None = None) -> None:
        self._address, self._timeout = address, timeout
        self._event_time = event_time or (lambda: time.time_ns() // 1_000)
        self.sent = 0
        self.millis: list[float] = []
        """Of those that were answered."""
        self.failed: list[str] = []
        """Statuses of the others."""
        self.answers: dict[str, Decision] = {}

    async def send(self, rate: float, seconds: float, name: str) -> None:
        """Make calls at a rate; their ids begin with a name."""
        # To look through all that the caller has loaded takes Python longer than a call may.
        gc.collect()
        gc.freeze()
        try:
            await self._send(rate, seconds, name)
        finally:
            gc.unfreeze()

    async def _send(self, rate: float, seconds: float, name: str) -> None:
        async with grpc.aio.insecure_channel(self._address) as channel:
            score = channel.unary_unary(_SCORE)
            began = time.perf_counter()
            under_way = set()
            for number in range(int(rate * seconds)):
                due = began + number / rate
                if (early := due - time.perf_counter()) > 0:
                    await asyncio.sleep(early)
                task = asyncio.ensure_future(self._one(score, name, number, due))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            await asyncio.gather(*under_way)

    async def _one(self, score: Any, name: str, number: int, due: float) -> None:
        self.sent += 1
        asked = Transaction(
            transaction_id=f"{name}-{number}",
            event_time_micros=self._event_time(),
            customer_id=f"caller-{number % 997}",
            card_id=f"card-{number % 1_511}",
            merchant_id=f"shop-{number % 101}",
            amount_minor=100 + number * 7_919 % 50_000,
        )
        try:
            answer = await score(ScoreRequest(transaction=asked).SerializeToString(), timeout=self._timeout)
        except grpc.RpcError as error:
            self.failed.append(error.code().name)
            return
        self.millis.append((time.perf_counter() - due) * 1e3)
        self.answers[asked.transaction_id] = ScoreResponse.FromString(answer).decision

    def in_time(self) -> float:
        """Return the share of calls that were answered within their deadline."""
        return sum(each <= 1e3 * self._timeout for each in self.millis) / self.sent


def compared(values: Iterable[bytes], answers: dict[str, Decision]) -> dict[str, int]:
    """Compare answers with the records of the log of decisions, bit for bit."""
    records: dict[str, DecisionRecord] = {}
    for value in values:
        record = DecisionRecord.FromString(value)
        if record.transaction.transaction_id in answers:
            records.setdefault(record.transaction.transaction_id, record)
    told = {"answers": len(answers), "as published": 0, "marked": 0, "different and not marked": 0}
    fields = ("score", "action", "model", "decided_time_micros")
    for name, answer in answers.items():
        record = records.get(name)
        if record is not None and all(getattr(answer, each) == getattr(record, each) for each in fields):
            told["as published"] += 1
        elif answer.degraded_reasons:
            told["marked"] += 1
        else:
            told["different and not marked"] += 1
    told["published"] = len(records)
    return told


async def send_with_stalls(calls: Calls, services: Path, kind: str, rate: float, seconds: float) -> int:
    """Make calls while a service is suspended for a second again and again; return how often it was.

    Parameters
    ----------
    calls
        What is sent.
    services
        Folder of the services.
    kind
        `kafka`, `postgres` or `redis`.
    rate, seconds
        Calls a second, and for how long.

    """
    pid = State.read(services).processes[kind].pid
    sending = asyncio.ensure_future(calls.send(rate, seconds, kind))
    stalls = 0
    while True:
        await asyncio.sleep(_PAUSE_SECONDS)
        if sending.done():
            break
        # PostgreSQL has a process for each connection.
        suspended = [pid, *children_of(pid)]
        for each in suspended:
            os.kill(each, signal.SIGSTOP)
        try:
            await asyncio.sleep(_STALL_SECONDS)
        finally:
            for each in suspended:
                os.kill(each, signal.SIGCONT)
        stalls += 1
    await sending
    return stalls
