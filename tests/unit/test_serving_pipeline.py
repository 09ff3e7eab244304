"""Answers of a stream: in order, read ahead within the bound, given up when the caller goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from fraudengine.serving.pipeline import pipelined

TIMEOUT_SECONDS = 20.0


class _Decider:
    """Decides when told to, in any order."""

    def __init__(self) -> None:
        self.begun: list[bytes] = []
        self.futures: dict[bytes, asyncio.Future[bytes]] = {}
        self.changed = asyncio.Event()

    def decide(self, request: bytes) -> asyncio.Future[bytes]:
        self.begun.append(request)
        self.futures[request] = asyncio.get_running_loop().create_future()
        self.changed.set()
        return self.futures[request]

    async def until(self, count: int) -> None:
        while len(self.begun) < count:
            self.changed.clear()
            await self.changed.wait()


async def each(count: int) -> AsyncIterator[bytes]:
    for number in range(count):
        yield b"%d" % number


async def take(answers: AsyncIterator[bytes], into: list[bytes]) -> None:
    async for answer in answers:
        into += [answer]


async def settled() -> None:
    """Let every task that can go on go on."""
    for _ in range(20):
        await asyncio.sleep(0)


def run(job: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(job, TIMEOUT_SECONDS))


def test_answers_have_the_order_of_the_requests() -> None:
    async def job() -> None:
        decider = _Decider()
        taken: list[bytes] = []

        taking = asyncio.create_task(take(pipelined(each(3), decider.decide), taken))
        await decider.until(3)
        for request in (b"2", b"1"):
            decider.futures[request].set_result(request)
        await settled()
        assert taken == []
        decider.futures[b"0"].set_result(b"0")
        await taking
        assert taken == [b"0", b"1", b"2"]

    run(job())


def test_no_more_than_the_bound_is_read_ahead() -> None:
    async def job() -> None:
        decider = _Decider()
        answers = pipelined(each(100), decider.decide, 4)
        first = asyncio.ensure_future(anext(answers))
        await decider.until(4)
        await settled()
        assert len(decider.begun) == 4
        decider.futures[b"0"].set_result(b"0")
        assert await first == b"0"
        await settled()
        # The first answer is not taken back to the caller before the next one is asked for.
        assert len(decider.begun) == 4
        second = asyncio.ensure_future(anext(answers))
        await decider.until(5)
        await settled()
        assert len(decider.begun) == 5
        second.cancel()
        await settled()

    run(job())


def test_a_caller_that_goes_takes_back_what_waits() -> None:
    async def job() -> None:
        decider = _Decider()
        taking = asyncio.create_task(take(pipelined(each(10), decider.decide), []))
        await decider.until(10)
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
        await settled()
        assert all(future.cancelled() for future in decider.futures.values())

    run(job())


def test_what_fails_is_told_after_the_answers_before_it() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"0"
        raise RuntimeError("reading failed")

    async def decide(request: bytes) -> bytes:
        if request == b"1":
            raise ValueError("deciding failed")
        return request

    async def job() -> None:
        for requests, error in ((broken(), RuntimeError), (each(3), ValueError)):
            taken: list[bytes] = []
            with pytest.raises(error):
                await take(pipelined(requests, decide), taken)
            assert taken == [b"0"]

    run(job())


def test_no_requests_no_answers() -> None:
    async def job() -> None:
        assert [answer async for answer in pipelined(each(0), _Decider().decide)] == []

    run(job())
