"""The commands that are printed for spark-submit, on a standalone cluster: master, worker, two executors."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl
import pytest
from spark_cluster import EXECUTORS, SparkCluster
from spark_job import (
    COMMAND,
    SMALL,
    as_options,
    assert_replay_right,
    assert_spark_right,
    await_batches,
    files_of,
)
from stream_topics import Topics

from fraudengine.services.jars import fetched
from fraudengine.spark.launch import missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "Spark is there")

OPTIONS = {
    "spark.driver.memory": "1g",
    "spark.executor.memory": "900m",
    "spark.executor.cores": "1",
    "spark.cores.max": str(EXECUTORS),
    "spark.ui.enabled": "false",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    """Return a cluster of these tests."""
    with SparkCluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


def _command(
    cluster: SparkCluster, bundle: Path, settings: Mapping[str, object], *options: object
) -> list[str]:
    """Return what a shell runs: the command as it is printed."""
    given = as_options({**SMALL, **settings, "spark.options": json.dumps(OPTIONS)})
    words = [*COMMAND, "spark", "submit-command", str(bundle), "--master", cluster.master]
    words += [*map(str, options), *given]
    printed = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout
    return ["bash", "-euc", f"exec {printed}"]


def test_a_submitted_replay_decides_what_the_engine_decides(
    cluster: SparkCluster, bundle: Path, history: pl.DataFrame, tmp_path: Path
) -> None:
    files, out = files_of(history, tmp_path / "history"), tmp_path / "decisions"
    command = _command(cluster, bundle, {}, "--replay", files, "--out", out)
    with (tmp_path / "replay.log").open("wb") as log:
        done = subprocess.run(
            command, env=cluster.environment, stdout=log, stderr=log, timeout=600, check=False
        )
    assert done.returncode == 0, (tmp_path / "replay.log").read_text()[-4_000:]
    assert_replay_right(bundle, files, out)


def test_a_submitted_job_outlives_an_executor(
    cluster: SparkCluster, topics: Topics, bundle: Path, history: pl.DataFrame, tmp_path: Path
) -> None:
    sent = topics.send(history)
    jars = fetched(print, what="spark")[0].parent
    settings = {
        "spark.batch_rows": sent // 6,
        "spark.jars": jars,
        "spark.checkpoint": tmp_path / "checkpoint",
    }
    file = tmp_path / "settings.toml"
    lines = [f"{name} = {json.dumps(value, default=str)}\n" for name, value in topics.settings().items()]
    file.write_text("".join(lines))
    command = _command(cluster, bundle, settings, "--drain", "--config", file)
    with (tmp_path / "job.log").open("wb") as log:
        job = subprocess.Popen(command, env=cluster.environment, stdout=log, stderr=log)
    try:
        await_batches(tmp_path / "checkpoint", 1)
        cluster.kill_executor()
        assert job.wait(900) == 0, (tmp_path / "job.log").read_text()[-4_000:]
    finally:
        job.kill()
        job.wait(30)
    assert_spark_right(topics, sent, bundle, history)
