"""Runs a load test: starts the sending processes, gives them one start, and adds up what they saw."""

from __future__ import annotations

import multiprocessing
import secrets
import time
from typing import TYPE_CHECKING

import grpc

from fraudengine.errors import NoAnswerError
from fraudengine.loadtest.sender import Sent, channel_of, sender
from fraudengine.loadtest.summary import Summary

if TYPE_CHECKING:
    from multiprocessing.connection import Connection as Pipe
    from multiprocessing.context import SpawnProcess

    from fraudengine.loadtest.plan import Plan

__all__ = ["run"]

_LEAD_NS = 50_000_000
"""From the moment when all are ready to the first call: what every process needs to hear of it."""


def run(plan: Plan) -> Summary:
    """Send the load of a plan and return what came of it.

    Raises
    ------
    NoAnswerError
        No service answers at the address.
    """
    _check(plan)
    # A process of its own and not a fork: gRPC's threads do not survive one.
    context = multiprocessing.get_context("spawn")
    name = secrets.token_hex(4)
    senders: list[tuple[SpawnProcess, Pipe]] = []
    try:
        for number in range(plan.processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=sender, args=(plan, name, number, theirs), daemon=True)
            process.start()
            theirs.close()
            senders.append((process, ours))
        for _, pipe in senders:
            _received(pipe)
        start_ns = time.monotonic_ns() + _LEAD_NS
        for _, pipe in senders:
            pipe.send(start_ns)
        told = [_received(pipe) for _, pipe in senders]
        for process, _ in senders:
            process.join()
    finally:
        for process, pipe in senders:
            process.kill()
            pipe.close()
    return Summary.of(plan, start_ns, [each for each in told if isinstance(each, Sent)])


def _check(plan: Plan) -> None:
    with channel_of(plan.connection) as channel:
        try:
            grpc.channel_ready_future(channel).result(plan.connection.timeout_seconds)
        except grpc.FutureTimeoutError as error:
            message = f"{plan.connection.address} does not answer"
            raise NoAnswerError(message, status="UNAVAILABLE") from error


def _received(pipe: Pipe) -> Sent | None:
    try:
        received: Sent | None = pipe.recv()
    except EOFError as error:
        raise NoAnswerError("a sending process ended early", status="INTERNAL") from error
    return received
