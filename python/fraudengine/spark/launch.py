"""Starts Spark, and says how others start it: what must be there, the jars, the options."""

from __future__ import annotations

import os
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fraudengine.errors import ConfigError
from fraudengine.services.jars import fetched, locked_jars
from fraudengine.services.kafka import java_version

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyspark.sql import SparkSession

    from fraudengine.config import Settings

__all__ = ["coordinates", "missing", "options", "session", "submit_command"]

_JAVA_MIN: Final = 17
_PYTHON: Final = "org.apache.spark.sql.execution.python.streaming"
_STATE_SERVER: Final = "TransformWithStateInPySparkStateServer"
_STATE_STORE: Final = "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"


def missing() -> str:
    """Return what Spark lacks here to run, in one sentence; empty: nothing."""
    if find_spec("pyspark") is None:
        return "pyspark is not installed: pip install 'fraudengine[spark]'"
    java = _java()
    version = java_version(java)
    if version == 0:
        return f"Spark needs Java {_JAVA_MIN} or newer and {java} does not run: install one or set JAVA_HOME"
    if version < _JAVA_MIN:
        return f"Spark needs Java {_JAVA_MIN} or newer, {java} is version {version}: set JAVA_HOME"
    return ""


def _java() -> str:
    home = os.environ.get("JAVA_HOME", "")
    return str(Path(home) / "bin" / "java") if home else "java"


def coordinates() -> str:
    """Return the connector's Maven coordinates, as `spark.jars.packages` takes them."""
    return ",".join(f"{jar.group}:{jar.artifact}:{jar.version}" for jar in locked_jars("spark"))


def jars_of(settings: Settings, report: Callable[[str], None]) -> list[Path]:
    """Return the jars of the connector, each with the locked hash.

    Raises
    ------
    ConfigError
        `spark.jars` lacks one, or holds another one under its name.
    ServiceError
        They cannot be fetched.

    """
    return fetched(report, what="spark") if settings.spark.jars == Path() else _own_jars(settings)


def _own_jars(settings: Settings) -> list[Path]:
    """Return the jars in the folder `spark.jars`."""
    folder = settings.spark.jars.absolute()
    for jar in locked_jars("spark"):
        if not jar.right(folder / jar.name):
            raise ConfigError(f"spark.jars is {folder}, which lacks {jar.name} with SHA-256 {jar.sha256}")
    return [folder / jar.name for jar in locked_jars("spark")]


def options(settings: Settings) -> dict[str, str]:
    """Return the options that every way to start needs; those of the settings win."""
    return {
        "spark.sql.streaming.stateStore.providerClass": _STATE_STORE,
        # Small changes instead of whole files at each batch; the files follow in the background.
        "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled": "true",
        # A batch without records changes nothing here, and would only cost.
        "spark.sql.streaming.noDataMicroBatches.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "100000",
        "spark.sql.shuffle.partitions": str(settings.spark.partitions),
        # The number of tasks is part of the checkpoint.
        "spark.sql.adaptive.enabled": "false",
        **settings.spark.options,
    }


def session(settings: Settings, report: Callable[[str], None], *, reads_kafka: bool) -> SparkSession:
    """Return a running session, that of spark-submit if there is one.

    With the connector where it `reads_kafka`; under spark-submit that is the submitter's to say.

    Raises
    ------
    ConfigError
        pyspark or Java is missing.

    """
    if lacking := missing():
        raise ConfigError(lacking)
    from pyspark.sql import SparkSession

    # Executors on this machine must run the interpreter that has this package.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("fraudengine")
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        builder = builder.master(settings.spark.master).config("spark.ui.enabled", "false")
        if reads_kafka:
            jars = jars_of(settings, report)
            builder = builder.config("spark.jars", ",".join(map(str, jars)))
    for name, value in options(settings).items():
        builder = builder.config(name, value)
    made = builder.getOrCreate()
    made.sparkContext.setLogLevel("WARN")
    # It warns of each cell that is not there yet.
    log4j = made._jvm.org.apache.logging.log4j
    log4j.core.config.Configurator.setLevel(f"{_PYTHON}.{_STATE_SERVER}", log4j.Level.ERROR)
    return made


def submit_command(
    settings: Settings,
    master: str,
    arguments: Sequence[str],
    image: str,
    *,
    file: Path | None,
    reads_kafka: bool,
) -> str:
    """Return the spark-submit command that runs `main.py` with these arguments on a cluster, for a shell.

    The connector, where Kafka is read, comes by its Maven coordinates, or from `spark.jars`. The driver reads
    the `file` of settings where it is; on Kubernetes, where it runs elsewhere, a copy in its working folder.

    Raises
    ------
    ConfigError
        `spark.jars` lacks a jar, or holds another one under its name.

    """
    words = ["spark-submit", "--master", master, "--name", "fraudengine"]
    if reads_kafka and settings.spark.jars == Path():
        words += ["--packages", coordinates()]
    elif reads_kafka:
        words += ["--jars", ",".join(map(str, _own_jars(settings)))]
    entry = str(Path(__file__).with_name("main.py"))
    config = [] if file is None else ["--config", str(file.absolute())]
    if master.startswith("k8s://"):
        words += ["--deploy-mode", "cluster"]
        words += ["--conf", f"spark.kubernetes.container.image={image}"]
        entry = "local:///opt/fraudengine/spark_main.py"
        if file is not None:
            words += ["--files", str(file.absolute())]
            config = ["--config", file.name]
    for name, value in options(settings).items():
        words += ["--conf", f"{name}={value}"]
    return shlex.join([*words, entry, *arguments, *config])
