"""The query: topics in, three stages with state, one writer out.

```
transactions ─> Reading ─┐
                         ├─> Customers ─> Others ─> Settling ─> writer
labels ───────> Reading ─┘   by bucket     by kind   by bucket
                                           and bucket
```
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from fraudengine.bundle import Bundle
from fraudengine.errors import ConfigError
from fraudengine.spark import rows
from fraudengine.spark.kafka_sink import KafkaWriter
from fraudengine.spark.reading import Plan, Reading
from fraudengine.spark.stages import Customers, Others, Settling

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

    from fraudengine.config import Settings

__all__ = ["Job", "start"]

_FIXED = ("cells", "buckets", "partitions", "lateness_seconds", "reference_currency", "rates", "bundle")


@dataclasses.dataclass(frozen=True)
class Job:
    """What runs.

    Attributes
    ----------
    settings
        Effective settings with all addresses.
    bundle
        The model.
    checkpoint
        Folder or URL of Spark's checkpoint: positions and state.

    """

    settings: Settings
    bundle: Bundle
    checkpoint: str

    @property
    def plan(self) -> Plan:
        """Return what the stages share."""
        spark = self.settings.spark
        return Plan(self.settings.native_json(), spark.cells, spark.buckets)

    def fixed(self) -> dict[str, Any]:
        """Return what must not change as long as the checkpoint is used."""
        spark, engine = self.settings.spark, self.settings.engine
        values = (
            spark.cells,
            spark.buckets,
            spark.partitions,
            engine.lateness_seconds,
            engine.reference_currency,
            engine.rates,
            self.bundle.hash,
        )
        return dict(zip(_FIXED, values, strict=True))


def start(session: SparkSession, job: Job, *, drain: bool = False) -> StreamingQuery:
    """Start the query.

    Parameters
    ----------
    session
        A session whose classpath has the Kafka connector.
    job
        What runs.
    drain
        Decide what the topics hold now, then end; else go on until stopped.

    Raises
    ------
    ConfigError
        The checkpoint was made with other settings.

    """
    spark = job.settings.spark
    name = _agree(session, job)
    session.conf.set("spark.sql.shuffle.partitions", str(spark.partitions))
    writer = KafkaWriter.by(job.settings, name)
    trigger: dict[str, Any] = (
        {"availableNow": True} if drain else {"processingTime": f"{spark.trigger_seconds} seconds"}
    )
    return (
        decided(session, job)
        .writeStream.queryName("fraudengine")
        .outputMode("append")
        .option("checkpointLocation", job.checkpoint)
        .trigger(**trigger)
        .foreachBatch(writer.write)
        .start()
    )


def decided(session: SparkSession, job: Job) -> DataFrame:
    """Return the stream of decided rows (`rows.DECIDED`)."""
    plan = job.plan
    every = _read(session, job, labels=True).union(_read(session, job, labels=False))
    customers = every.groupBy("bucket").transformWithStateInPandas(
        Customers(plan), rows.TRAVELLING, "Append", "None"
    )
    others = customers.groupBy("kind", "bucket").transformWithStateInPandas(
        Others(plan), rows.TRAVELLING, "Append", "None"
    )
    return others.groupBy("home").transformWithStateInPandas(
        Settling(plan, job.bundle.activation()), rows.DECIDED, "Append", "None"
    )


def _read(session: SparkSession, job: Job, *, labels: bool) -> DataFrame:
    kafka, spark = job.settings.kafka, job.settings.spark
    options = {
        "kafka.bootstrap.servers": kafka.brokers,
        "subscribe": kafka.labels_topic if labels else kafka.transactions_topic,
        # Labels that were there from the beginning are never passed over: see the stream's "labels first".
        "startingOffsets": "earliest" if labels else kafka.start,
        "kafka.isolation.level": "read_committed",
        "failOnDataLoss": "true",
    }
    if not labels:
        options["maxOffsetsPerTrigger"] = str(spark.batch_rows)
    records = session.readStream.format("kafka").options(**options).load()
    picked = records.selectExpr("value", "partition", "offset", "unix_millis(timestamp) AS stamp")
    return picked.mapInPandas(Reading(job.plan, labels), rows.TRAVELLING)


def _agree(session: SparkSession, job: Job) -> str:
    """Hold the settings against those of the checkpoint, or write them into a new one; return its name."""
    # Hadoop's file systems, because Spark's checkpoint may be on any of them.
    path = session._jvm.org.apache.hadoop.fs.Path(job.checkpoint, "fraudengine.json")
    files = path.getFileSystem(session._jsc.hadoopConfiguration())
    wanted = job.fixed()
    if not files.exists(path):
        name = uuid4().hex
        stream = files.create(path, True)
        stream.write(bytearray(json.dumps({"name": name, **wanted}, sort_keys=True).encode()))
        stream.close()
        return name
    source = files.open(path)
    found = json.loads(bytes(source.readAllBytes()))
    source.close()
    for name in _FIXED:
        if found.get(name) != wanted[name]:
            raise ConfigError(
                f"the checkpoint {job.checkpoint} was made with {name} {found.get(name)}, "
                f"not {wanted[name]}: go on with that, or begin with a new checkpoint"
            )
    return str(found["name"])


def job_of(settings: Settings, bundle: Bundle | str | Path) -> Job:
    """Return the job of these settings."""
    resolved = settings.resolved(only=["kafka"])
    loaded = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
    return Job(resolved, loaded, _checkpoint(resolved))


def _checkpoint(settings: Settings) -> str:
    text = settings.spark.checkpoint
    return text if ":/" in text else str(Path(text).absolute())
