"""Scoring over gRPC in front of the stream: beside 20,000 others a second, and while a service stalls.

Two jobs, on services of their own:

- `busy`: the stream decides a steady load; beside it single calls come in open loop. Told are the latencies
  of the calls, and whether each answer is the very decision that the stream published.
- `stalls`: no other load; broker, PostgreSQL and Redis are suspended for a second in turn. Told is how many
  calls were answered inside their deadline, and whether each answer that is not the published decision says
  so.

A regression in `busy` means that a call waits for others; in `stalls`, that it waits for the stream.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from late_calls import Calls, compared, send_with_stalls

from machine import facts, save
from programs import command
from stream import ROOT, Bench, percentiles, read, started

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fraudengine import config

KINDS = ("kafka", "postgres", "redis")
# Event times of the load run much faster than the clock.
LATENESS = {"engine.lateness_seconds": 604_800}


@contextmanager
def serving(bench: Bench, settings: config.Settings, more: dict[str, object]) -> Iterator[tuple[str, str]]:
    """Run a service in front of the stream; yield the address of the transport and that of its metrics."""
    own = {"serve.port": 0, "serve.native_port": 0, "serve.warm_transactions": 0}
    wanted = {**bench.flags(settings, databases=False), **own, **more}
    out = bench.folder / f"{settings.kafka.group}-serve.out"
    with out.open("w") as answers:
        process = subprocess.Popen(
            command("serve", "--stream", bench.bundle, "--json", flags=wanted), stdout=answers
        )
    try:
        while "\n}" not in (text := out.read_text()):
            assert process.poll() is None, "the service ended"
            time.sleep(0.02)
        told = json.loads(text[: text.index("\n}") + 2])
        yield told["native" if bench.arguments.native else "address"], told["metrics"]
    finally:
        process.terminate()
        process.wait(60)


def published(settings: config.Settings) -> Iterator[bytes]:
    """Yield the records of the log of decisions."""
    return (each.value() for each in read(settings.kafka.brokers, settings.kafka.decisions_topic))


def busy(bench: Bench) -> dict[str, Any]:
    """Make calls beside a steady load."""
    arguments = bench.arguments
    settings = bench.topics("busy")
    watermark = 0
    with (
        bench.stream(settings, databases=False, more=LATENESS) as (client, _),
        serving(bench, settings, LATENESS) as (address, _),
    ):
        while client.status()["phase"] != "running":
            time.sleep(0.05)
        load = bench.load(settings, tps=arguments.tps, seconds=arguments.seconds + arguments.warm + 5)
        while (watermark := client.status()["watermark_micros"]) == 0:
            time.sleep(0.05)
        time.sleep(arguments.warm)
        calls = Calls(address, 5.0, lambda: watermark)

        async def all_calls() -> None:
            nonlocal watermark

            async def look() -> None:
                nonlocal watermark
                while True:
                    status = await asyncio.to_thread(client.status)
                    watermark = status["watermark_micros"]
                    await asyncio.sleep(0.2)

            looking = asyncio.ensure_future(look())
            await calls.send(arguments.rate, arguments.seconds, "busy")
            looking.cancel()

        asyncio.run(all_calls())
        load.wait(arguments.seconds + 120)
        report = load.report()
        while (told := client.status())["lag"] != 0 or told["in_flight"]:
            time.sleep(0.1)
    return {
        "load per second": round(report.rate),
        "calls per second": arguments.rate,
        "milliseconds": percentiles(calls.millis),
        "failed": len(calls.failed),
        **compared(published(settings), calls.answers),
    }


def stalls(bench: Bench) -> dict[str, Any]:
    """Make calls with a deadline while services are suspended for a second each."""
    arguments = bench.arguments
    settings = bench.topics("stalls")
    result: dict[str, Any] = {}
    with (
        bench.stream(settings, databases=True) as (client, _),
        serving(bench, settings, {}) as (address, _),
    ):
        while client.status()["phase"] != "running":
            time.sleep(0.05)
        calls = Calls(address, 10.0)
        asyncio.run(calls.send(arguments.rate, 10, "warm"))
        for kind in KINDS:
            calls = Calls(address, 0.1)
            services = bench.folder / "services"
            count = asyncio.run(send_with_stalls(calls, services, kind, arguments.rate, arguments.seconds))
            while (told := client.status())["lag"] != 0 or told["in_flight"]:
                time.sleep(0.1)
            result[kind] = {
                "stalls": count,
                "calls": calls.sent,
                "answered within 100 ms": round(calls.in_time(), 6),
                "failed": len(calls.failed),
                "milliseconds": percentiles(calls.millis),
                **compared(published(settings), calls.answers),
            }
            print(kind, result[kind], file=sys.stderr, flush=True)
    return result


def main() -> None:
    """Run one job."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("job", choices=["busy", "stalls"])
    parser.add_argument("--rate", type=float, default=200.0, help="calls a second")
    parser.add_argument("--tps", type=float, default=20_000.0, help="transactions of the load a second")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument(
        "--warm",
        type=float,
        default=30.0,
        help="seconds of load before the first call: the broker compiles itself in its first half minute",
    )
    parser.add_argument("--native", action="store_true", help="call the native transport")
    parser.add_argument("--customers", type=int, default=10_000)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "benchmark")
    parser.set_defaults(threads=1, labels="fraud", set=[])
    arguments = parser.parse_args()
    before = facts("grpcio", "confluent-kafka")
    with started(arguments) as bench:
        result = {"busy": busy, "stalls": stalls}[arguments.job](bench)
    print(json.dumps(result, indent=2))
    transport = "_native" if arguments.native else ""
    save(f"serve_stream_{arguments.job}{transport}", {"machine": before, arguments.job: result})


if __name__ == "__main__":
    main()
