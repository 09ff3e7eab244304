"""Spark Structured Streaming as a peer of the whole job: micro-batches, state by customer, a booster.

    INTERPRETER work_spark.py FOLDER BROKERS TOPIC JARS

JARS are files, separated by commas, or the Maven coordinates of the Kafka connector.

`transformWithStateInPandas` keeps the windows of a customer in Spark's own RocksDB store and the booster
scores Arrow batches after it: what the documentation of 4.x recommends for state of one's own. One task at
a time (`local[1]`).
The session lives through all turns, so that its start is not measured and its machine code is warm.
"""

from __future__ import annotations

import os
import pickle
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import xgboost
from pyspark.sql import SparkSession
from pyspark.sql import functions as f
from pyspark.sql.streaming.stateful_processor import StatefulProcessor

import calls
from windows_python import COLUMNS, CustomerWindows

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENT = "transaction_id string, customer_id string, event_time long, amount_minor long, merchant_id string"
ROW = "transaction_id string, " + ", ".join(f"{name} double" for name in COLUMNS)
STORE = "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"


class Windows(StatefulProcessor):
    """The windows of one customer."""

    def init(self, handle: Any) -> None:  # noqa: ANN401 - types of a peer
        """Open the state."""
        self._state = handle.getValueState("windows", "bytes binary")

    def handleInputRows(self, key: Any, rows: Any, timerValues: Any) -> Iterator[pd.DataFrame]:  # noqa: ANN401
        """Take in the transactions of a customer; return their features."""
        kept = self._state.get()
        windows = CustomerWindows() if kept is None else pickle.loads(kept[0])
        events = pd.concat(list(rows)).sort_values("event_time", kind="stable")
        columns = (
            events["event_time"].tolist(),
            events["amount_minor"].tolist(),
            events["merchant_id"].tolist(),
        )
        told = [windows.update(*event) for event in zip(*columns, strict=True)]
        self._state.update((pickle.dumps(windows),))
        features = pd.DataFrame(told, columns=list(COLUMNS), dtype="float64")
        features.insert(0, "transaction_id", events["transaction_id"].to_numpy())
        yield features

    def close(self) -> None:
        """Nothing is held beside the state."""


class Job:
    """A session, and the query that a turn runs to the end of the topic."""

    def __init__(self, folder: str, brokers: str, topic: str, jars: str) -> None:
        self.folder, self.brokers, self.topic = Path(folder), brokers, topic
        settings = {
            "spark.jars" if jars.endswith(".jar") else "spark.jars.packages": jars,
            "spark.ui.enabled": "false",
            "spark.sql.shuffle.partitions": "1",
            "spark.sql.streaming.stateStore.providerClass": STORE,
            "spark.sql.execution.arrow.maxRecordsPerBatch": "10000",
            "spark.driver.memory": "2g",
            "spark.log.level": "ERROR",
        }
        builder = SparkSession.builder.master("local[1]").appName("peer")
        for name, value in settings.items():
            builder = builder.config(name, value)
        self.spark = builder.getOrCreate()

    def query(self, out: str) -> Any:  # noqa: ANN401
        """Start the query; it ends with the topic."""
        file = str(self.folder / "booster.ubj")

        def score(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
            booster = xgboost.Booster(model_file=file)
            booster.set_param({"nthread": 1})
            for batch in batches:
                scores = booster.inplace_predict(batch[list(COLUMNS)].to_numpy("float32"))
                yield pd.DataFrame({"transaction_id": batch["transaction_id"], "score": scores})

        kafka = {"kafka.bootstrap.servers": self.brokers, "startingOffsets": "earliest"}
        read = self.spark.readStream.format("kafka").options(**kafka).option("subscribe", self.topic).load()
        events = read.select(f.from_json(f.col("value").cast("string"), EVENT).alias("e")).select("e.*")
        rows = events.groupBy("customer_id").transformWithStateInPandas(
            statefulProcessor=Windows(), outputStructType=ROW, outputMode="append", timeMode="none"
        )
        scored = rows.mapInPandas(score, "transaction_id string, score double")
        checkpoint = str(self.folder / f"spark-{uuid.uuid4().hex}")
        return (
            scored.select(f.to_json(f.struct("transaction_id", "score")).alias("value"))
            .writeStream.format("kafka")
            .option("kafka.bootstrap.servers", self.brokers)
            .option("topic", out)
            .option("checkpointLocation", checkpoint)
            .trigger(availableNow=True)
            .start()
        )

    def run(self, out: str, count: int) -> dict[str, float]:
        """Score the topic; return wall and processor time of this process, its JVM and the Python workers."""
        own = os.getpid()
        wall, cpu = time.perf_counter(), calls.tree_seconds(own)
        self.query(out).awaitTermination()
        return {
            "units": count,
            "wall": time.perf_counter() - wall,
            "cpu": calls.tree_seconds(own) - cpu,
        }


if __name__ == "__main__":
    calls.serve({"run": Job(*sys.argv[1:]).run})
