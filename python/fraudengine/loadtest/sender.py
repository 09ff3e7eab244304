"""One sending process: calls by futures, latencies in nanoseconds from the time each should have been sent.

In a closed loop the answer to a call sends the next one. In an open loop calls are begun on time, whatever
comes back; a call that had to wait for room is still measured from its time, so that a slow service cannot
hide behind a sender that waits for it (coordinated omission).
"""

from __future__ import annotations

import threading
import time
from array import array
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc

from fraudengine.client.connection import SCORE, SCORE_BATCH
from fraudengine.loadtest.requests import pool, requests
from fraudengine.wire.decision_pb2 import Action
from fraudengine.wire.scoring_pb2 import ScoreBatchResponse, ScoreResponse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection as Pipe

    from fraudengine.client.connection import Connection
    from fraudengine.loadtest.plan import Plan
    from fraudengine.wire.decision_pb2 import Decision

__all__ = ["Sent", "channel_of", "sender"]

_IN_FLIGHT_MAX = 10_000


@dataclass
class Sent:
    """What one process saw.

    Attributes
    ----------
    latencies_ns
        Of each call that was answered, or not within its deadline; from its intended time.
    delays_ns
        Of each call: how much later than intended it was sent.
    statuses
        Calls by the name of their gRPC status.
    outcomes
        Transactions by what came of them: the names of actions, and `refused`, `degraded`, `repeated`.
    ended_ns
        When the last answer came, by the monotonic clock of the machine.
    busy_seconds
        Processor time that the sending took, all threads together.
    """

    latencies_ns: array[int] = field(default_factory=lambda: array("q"))
    delays_ns: array[int] = field(default_factory=lambda: array("q"))
    statuses: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    ended_ns: int = 0
    busy_seconds: float = 0.0


def channel_of(told: Connection) -> grpc.Channel:
    """Return a channel to the service of a plan; nothing is tried again on it."""
    if told.tls is None:
        return grpc.insecure_channel(told.address, told.options())
    return grpc.secure_channel(told.address, told.tls.credentials(), told.options())


def sender(plan: Plan, run: str, number: int, pipe: Pipe) -> None:
    """Connect, say that it is ready, wait for the time of the start, send, and tell what was seen.

    Parameters
    ----------
    plan
        The whole test; this process sends its share.
    run
        Part of every id.
    number
        Of this process, from 0.
    pipe
        Sends `None` when ready, receives the start (monotonic nanoseconds), sends `Sent`.
    """
    share = len(range(number, plan.calls, plan.processes))
    stock = requests(pool(plan.seed + number, share * (plan.batch or 1)), f"load-{run}-{number}", plan.batch)
    # In an open loop nobody knows how many calls will be under way; a warm service has few.
    at_once = len(range(number, plan.concurrency, plan.processes)) if plan.rate is None else 1
    with channel_of(plan.connection) as channel:
        _Sending(plan, channel, stock).closed(min(plan.warmup_calls, share), at_once)
        pipe.send(None)
        start_ns: int = pipe.recv()
        sending = _Sending(plan, channel, stock)
        busy = time.process_time()
        if plan.rate is None:
            _sleep_until(start_ns)
            sent = sending.closed(share, at_once)
        else:
            step_ns = 1e9 / plan.rate
            due = (start_ns + int(each * step_ns) for each in range(number, plan.calls, plan.processes))
            sent = sending.open(due)
        sent.busy_seconds = time.process_time() - busy
        pipe.send(sent)


class _Sending:
    """Calls under way; its callbacks run on threads of gRPC."""

    def __init__(self, plan: Plan, channel: grpc.Channel, stock: Iterator[bytes]) -> None:
        self._call = channel.unary_unary(SCORE_BATCH if plan.batch else SCORE)
        self._read = _read_batch if plan.batch else _read_one
        self._timeout = plan.connection.timeout_seconds
        self._metadata = plan.connection.metadata()
        self._stock = stock
        self._sent = Sent()
        self._state = threading.Condition(threading.Lock())
        self._under_way = 0
        self._left = 0

    def closed(self, calls: int, at_once: int) -> Sent:
        """Make calls, `at_once` of them under way at any time."""
        first = min(calls, at_once)
        self._left = calls - first
        for _ in range(first):
            self._send(time.monotonic_ns())
        return self._ended()

    def open(self, due: Iterator[int]) -> Sent:
        """Make a call at each of the times."""
        for intended_ns in due:
            _sleep_until(intended_ns)
            if self._under_way >= _IN_FLIGHT_MAX:
                with self._state:
                    self._state.wait_for(lambda: self._under_way < _IN_FLIGHT_MAX)
            self._send(intended_ns)
        return self._ended()

    def _send(self, intended_ns: int) -> None:
        with self._state:
            self._under_way += 1
            request = next(self._stock)
            self._sent.delays_ns.append(time.monotonic_ns() - intended_ns)
        call = self._call.future(request, timeout=self._timeout, metadata=self._metadata)
        call.add_done_callback(partial(self._done, intended_ns))

    def _done(self, intended_ns: int, call: Any) -> None:  # noqa: ANN401 - grpcio has no types
        now_ns = time.monotonic_ns()
        with self._state:
            again = self._left > 0
            self._left -= again
        if again:
            self._send(time.monotonic_ns())
        with self._state:
            try:
                self._count(call, now_ns, now_ns - intended_ns)
            finally:
                self._under_way -= 1
                self._state.notify_all()

    def _count(self, call: Any, now_ns: int, latency_ns: int) -> None:  # noqa: ANN401 - grpcio has no types
        sent = self._sent
        code: grpc.StatusCode = call.code()
        ok = code is grpc.StatusCode.OK
        sent.ended_ns = max(sent.ended_ns, now_ns)
        sent.statuses[code.name] += 1
        # A call that waited in vain until its deadline counts; one that was turned away at once does not.
        if ok or code is grpc.StatusCode.DEADLINE_EXCEEDED:
            sent.latencies_ns.append(latency_ns)
        if ok:
            self._read(call.result(), sent.outcomes)
        elif code is grpc.StatusCode.INVALID_ARGUMENT:
            sent.outcomes["refused"] += 1

    def _ended(self) -> Sent:
        with self._state:
            self._state.wait_for(lambda: self._under_way == 0)
        return self._sent


def _read_one(answer: bytes, outcomes: Counter[str]) -> None:
    _count(ScoreResponse.FromString(answer).decision, outcomes)


def _read_batch(answer: bytes, outcomes: Counter[str]) -> None:
    for result in ScoreBatchResponse.FromString(answer).results:
        if result.HasField("refusal"):
            outcomes["refused"] += 1
        else:
            _count(result.decision, outcomes)


_ACTIONS = {value.number: value.name.removeprefix("ACTION_").lower() for value in Action.DESCRIPTOR.values}


def _count(decision: Decision, outcomes: Counter[str]) -> None:
    outcomes[_ACTIONS.get(decision.action, "unknown")] += 1
    if decision.degraded:
        outcomes["degraded"] += 1
    if decision.repeated_id:
        outcomes["repeated"] += 1


def _sleep_until(moment_ns: int) -> None:
    left = moment_ns - time.monotonic_ns()
    if left > 0:
        time.sleep(left / 1e9)
