"""`fraudengine spark`: the fold on Spark Structured Streaming."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fraudengine.cli.console import notify, print_json, print_table
from fraudengine.cli.settings_options import ConfigOption, SetOption, load_settings
from fraudengine.cli.values import duration
from fraudengine.errors import ConfigError

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["register"]

_commands = typer.Typer(help="Decide on Spark Structured Streaming (extra `spark`).", no_args_is_help=True)


@_commands.command("run")
def run(
    bundle: Annotated[Path, typer.Argument(help="Model.")],
    file: ConfigOption = None,
    assignments: SetOption = None,
    drain: Annotated[
        bool, typer.Option("--drain", help="Decide what the topics hold now, then end.")
    ] = False,
) -> None:
    """Decide the transactions of a Kafka topic on Spark until interrupted.

    [bold]Examples[/bold]

    fraudengine spark run model --drain

    fraudengine spark run model --set kafka.brokers=kafka-1:9092 --set spark.checkpoint=/data/checkpoint
    """
    from fraudengine.services.topics import create_topics
    from fraudengine.spark import launch

    settings = load_settings(file, assignments)
    session = launch.session(settings, lambda line: notify([line]), reads_kafka=True)
    from fraudengine.spark import job

    made = job.job_of(settings, bundle)
    create_topics(made.settings.kafka)
    query = job.start(session, made, drain=drain)
    asked = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        asked.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask)
    notify([f"deciding on Spark with {made.bundle.path}; checkpoint {made.checkpoint}"])
    while not query.awaitTermination(1) and not asked.is_set():
        pass
    query.stop()
    session.stop()
    notify(["stopped"])


@_commands.command("replay")
def replay(
    bundle: Annotated[Path, typer.Argument(help="Model.")],
    history: Annotated[
        str, typer.Argument(help="Parquet files: a path that Spark reads, a folder, a pattern.")
    ],
    out: Annotated[str, typer.Option("--out", help="Folder for the decisions, Parquet; must not exist yet.")],
    label_delay: Annotated[
        str, typer.Option("--label-delay", metavar="DURATION", help="Time from a transaction to its label.")
    ] = "7d",
    file: ConfigOption = None,
    assignments: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Decide a history that does not fit one machine; the decisions of `fraudengine replay`, bit for bit.

    The history has the canonical columns. Each of its rows becomes one row, in no order; `source_file` and
    `source_row` say which.

    [bold]Examples[/bold]

    fraudengine spark replay model payments/ --label-delay 7d --out decisions

    fraudengine spark replay model s3a://bank/payments/ --out s3a://bank/decisions --set spark.buckets=4096
    """
    from fraudengine.bundle import Bundle
    from fraudengine.spark import launch

    settings = load_settings(file, assignments)
    verified = Bundle.load(bundle)
    delay = duration(label_delay)
    session = launch.session(settings, lambda line: notify([line]), reads_kafka=False)
    from fraudengine.spark.replay import written

    counts = written(session, settings, verified, history, out, delay)
    session.stop()
    if as_json:
        print_json({**counts, "out": out})
    else:
        print_table("Decisions", ["what", "transactions"], list(counts.items()))
    notify([f"decisions in {out}"])


@_commands.command("sinks")
def sinks(file: ConfigOption = None, assignments: SetOption = None) -> None:
    """Write what Spark decides to PostgreSQL and Redis, until interrupted.

    The stream's own writers: they follow the topic of decisions from a position of their own, which they keep
    in the same database transaction as the rows. The stream runs them itself; the job on Spark does not.

    [bold]Examples[/bold]

    fraudengine spark sinks --set redis.enabled=false
    """
    from fraudengine import _native
    from fraudengine.services.topics import create_topics

    settings = load_settings(file, assignments)
    _native.init_logging(settings.log.level, settings.log.format == "json")
    resolved = settings.resolved()
    create_topics(resolved.kafka)
    asked = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        asked.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask)
    writers = _native.Sinks(settings.native_json())
    names = ", ".join(status["sink"] for status in writers.status())
    notify([f"writing the decisions of {resolved.kafka.decisions_topic}: {names or 'no writer is enabled'}"])
    asked.wait()
    told = writers.status()
    writers.stop()
    notify([f"{status['sink']}: stopped, {status['rows_written']:,} rows written" for status in told])


@_commands.command("submit-command")
def submit_command(
    bundle: Annotated[str, typer.Argument(help="Model, as a path that the driver can read.")],
    master: Annotated[str, typer.Option(help="local[N], spark://HOST:PORT or k8s://URL.")] = "local[2]",
    image: Annotated[
        str, typer.Option(help="Container image with Spark and this package, for Kubernetes.")
    ] = "fraudengine-spark:4.2.0",
    drain: Annotated[bool, typer.Option("--drain", help="As of `run`.")] = False,
    history: Annotated[
        str | None, typer.Option("--replay", metavar="HISTORY", help="Replay this instead, as `replay` does.")
    ] = None,
    out: Annotated[str | None, typer.Option("--out", help="Of --replay: folder for the decisions.")] = None,
    label_delay: Annotated[
        str, typer.Option("--label-delay", metavar="DURATION", help="Of --replay, as of `replay`.")
    ] = "7d",
    file: ConfigOption = None,
    assignments: SetOption = None,
) -> None:
    """Print the spark-submit command that runs the job, or a replay.

    The job reads the file of settings that this command reads, and gets its `--set` again.

    [bold]Examples[/bold]

    fraudengine spark submit-command model --master spark://head:7077 --set spark.checkpoint=s3a://bucket/fraud

    fraudengine spark submit-command model --master spark://head:7077 --replay s3a://bank/payments/ --out s3a://bank/decisions
    """
    from fraudengine.config import file_of
    from fraudengine.spark import launch

    if (history is None) != (out is None):
        raise ConfigError("--replay and --out come together")
    if history is None or out is None:
        arguments = [bundle, *(["--drain"] if drain else [])]
    else:
        # Refused here, not minutes later on the cluster.
        duration(label_delay)
        arguments = ["replay", bundle, history, "--out", out, "--label-delay", label_delay]
    for assignment in assignments or []:
        arguments += ["--set", assignment]
    settings = load_settings(file, assignments)
    command = launch.submit_command(
        settings, master, arguments, image, file=file_of(file), reads_kafka=history is None
    )
    typer.echo(command)


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(_commands, name="spark")
