"""One contestant of the whole job: transactions of Kafka in, windows, the ensemble, decisions to Kafka.

    INTERPRETER work_job.py NAME BROKERS TOPIC_IN TOPIC_OUT FOLDER SCRATCH

Runs until it is ended. A decision is JSON with the id and the score. Each does the job the way its own
documentation shows: state by key, scoring in batches where the library has batches.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xgboost

from windows_python import COLUMNS, CustomerWindows

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH = 1_000
USED = ("transaction_id", "customer_id", "event_time", "amount_minor", "merchant_id")


class Model:
    """The isolation forest, and the booster that reads its anomaly beside the nine features."""

    def __init__(self, folder: str) -> None:
        self.booster = xgboost.Booster({"nthread": 1})
        self.booster.load_model(Path(folder) / "booster.json")
        # The forest was fitted on rows as wide as the engine's; these are the places of the nine.
        self.forest, self.used = pickle.loads((Path(folder) / "forest.pickle").read_bytes())

    def score(self, rows: Any) -> Any:  # noqa: ANN401 - an array of (n, 9)
        """Return the probability of fraud of each row."""
        narrow = np.asarray(rows, np.float32)
        wide = np.zeros((len(narrow), self.forest.n_features_in_), np.float32)
        wide[:, self.used] = np.nan_to_num(narrow)
        anomaly = -self.forest.score_samples(wide)
        return self.booster.inplace_predict(np.column_stack([narrow, anomaly.astype(np.float32)]))


def loop(brokers: str, topic_in: str, topic_out: str, folder: str, scratch: str) -> None:
    """Consume a batch, update dictionaries, score the batch, produce it."""
    import orjson
    from confluent_kafka import Consumer, Producer

    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "job", "auto.offset.reset": "earliest"})
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 5})
    consumer.subscribe([topic_in])
    model = Model(folder)
    customers: dict[str, CustomerWindows] = {}
    while True:
        records = consumer.consume(BATCH, timeout=0.05)
        ids, rows = [], []
        for record in records:
            told = orjson.loads(record.value() or b"")
            windows = customers.get(told["customer_id"])
            if windows is None:
                windows = customers[told["customer_id"]] = CustomerWindows()
            rows.append(windows.update(told["event_time"], told["amount_minor"], told["merchant_id"]))
            ids.append(told["transaction_id"])
        if not rows:
            continue
        scores = model.score(rows)
        for name, score in zip(ids, scores.tolist(), strict=True):
            producer.produce(topic_out, orjson.dumps({"transaction_id": name, "score": score}))
        producer.poll(0)


def bytewax(brokers: str, topic_in: str, topic_out: str, folder: str, scratch: str) -> None:
    """Run a dataflow: Kafka operators, `stateful_map` by customer, `flat_map_batch` for the model."""
    import bytewax.operators as op
    import orjson
    from bytewax._bytewax import cli_main
    from bytewax.connectors.kafka import KafkaSinkMessage
    from bytewax.connectors.kafka import operators as kop
    from bytewax.dataflow import Dataflow

    model = Model(folder)

    def parse(record: Any) -> tuple[str, tuple[str, int, int, str]]:  # noqa: ANN401
        told = orjson.loads(record.value)
        event = (told["transaction_id"], told["event_time"], told["amount_minor"], told["merchant_id"])
        return told["customer_id"], event

    def step(state: CustomerWindows | None, event: tuple[str, int, int, str]) -> tuple[Any, Any]:
        state = state or CustomerWindows()
        return state, (event[0], state.update(*event[1:]))

    def score(batch: list[tuple[str, tuple[str, tuple[float, ...]]]]) -> list[Any]:
        scores = model.score([row for _, (_, row) in batch])
        return [
            KafkaSinkMessage(None, orjson.dumps({"transaction_id": name, "score": value}))
            for (_, (name, _)), value in zip(batch, scores.tolist(), strict=True)
        ]

    flow = Dataflow("job")
    source = kop.input("in", flow, brokers=[brokers], topics=[topic_in], tail=True, batch_size=BATCH)
    windows = op.stateful_map("windows", op.map("parse", source.oks, parse), step)
    kop.output("out", op.flat_map_batch("score", windows, score), brokers=[brokers], topic=topic_out)
    cli_main(flow, workers_per_process=1)


def quixstreams(brokers: str, topic_in: str, topic_out: str, folder: str, scratch: str) -> None:
    """Run an application: `apply` with state by key. It scores one by one, since rows come one by one."""
    from quixstreams import Application

    model = Model(folder)
    application = Application(
        broker_address=brokers, consumer_group="job", auto_offset_reset="earliest", state_dir=scratch
    )
    source = application.topic(topic_in, value_deserializer="json")
    sink = application.topic(topic_out, value_serializer="json")

    def step(value: dict[str, Any], state: Any) -> dict[str, Any]:  # noqa: ANN401
        windows = CustomerWindows()
        # The store keeps JSON: the events of the week, from which the windows are made again.
        events = state.get("events") or []
        now = value["event_time"]
        for event in (kept := [event for event in events if event[0] > now - windows.week.span]):
            windows.update(*event)
        event = [now, value["amount_minor"], value["merchant_id"]]
        row = windows.update(*event)
        state.set("events", [*kept, event])
        score = model.score([row])[0]
        return {"transaction_id": value["transaction_id"], "score": float(score)}

    application.dataframe(source).apply(step, stateful=True).to_topic(sink)
    application.run()


def spark_session() -> Any:  # noqa: ANN401
    """Return a local session with one worker and the state store that the operator needs."""
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.appName("job")
        .master("local[1]")
        .config("spark.jars", os.environ["SPARK_JARS"])
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "1")
        .config(
            "spark.sql.streaming.stateStore.providerClass",
            "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider",
        )
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    return session


def spark(brokers: str, topic_in: str, topic_out: str, folder: str, scratch: str) -> None:
    """Run a structured stream: `transformWithStateInPandas` by customer, `mapInPandas` for the model."""
    import pandas as pd
    from pyspark.sql import functions as f
    from pyspark.sql.streaming.stateful_processor import StatefulProcessor

    class Windows(StatefulProcessor):  # type: ignore[misc]  # Any: pyspark is not followed
        def init(self, handle: Any) -> None:  # noqa: ANN401
            self._state = handle.getValueState("windows", "windows binary")

        def handleInputRows(
            self,
            key: Any,  # noqa: ANN401
            rows: Iterator[pd.DataFrame],
            timerValues: Any,  # noqa: ANN401
        ) -> Iterator[pd.DataFrame]:
            known = self._state.get()
            windows = CustomerWindows() if known is None else pickle.loads(known[0])
            ids, found = [], []
            events = pd.concat(list(rows)).sort_values("event_time")
            for each in events.itertuples():
                found.append(windows.update(each.event_time, each.amount_minor, each.merchant_id))
                ids.append(each.transaction_id)
            self._state.update((pickle.dumps(windows),))
            yield pd.DataFrame(found, columns=list(COLUMNS)).assign(transaction_id=ids)

        def close(self) -> None:
            pass

    file = folder

    def score(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        model = Model(file)
        for frame in frames:
            values = model.score(frame[list(COLUMNS)])
            told = zip(frame["transaction_id"], values.tolist(), strict=True)
            yield pd.DataFrame(
                {"value": [json.dumps({"transaction_id": name, "score": value}) for name, value in told]}
            )

    session = spark_session()
    schema = (
        "transaction_id string, customer_id string, event_time long, amount_minor long, merchant_id string"
    )
    records = (
        session.readStream.format("kafka")
        .option("kafka.bootstrap.servers", brokers)
        .option("subscribe", topic_in)
        .option("startingOffsets", "earliest")
        .load()
    )
    rows = records.select(f.from_json(f.col("value").cast("string"), schema).alias("row")).select("row.*")
    columns = ", ".join(f"{name} double" for name in COLUMNS)
    features = rows.groupBy("customer_id").transformWithStateInPandas(
        Windows(), f"{columns}, transaction_id string", "Append", "None"
    )
    query = (
        features.mapInPandas(score, "value string")
        .writeStream.format("kafka")
        .option("kafka.bootstrap.servers", brokers)
        .option("topic", topic_out)
        .option("checkpointLocation", f"{scratch}/checkpoint")
        .start()
    )
    query.awaitTermination()


def flink(brokers: str, topic_in: str, topic_out: str, folder: str, scratch: str) -> None:
    """Run a local job: a keyed process function with value state, a pandas function for the model."""
    import pandas as pd
    from pyflink.common import Row, SimpleStringSchema, Types, WatermarkStrategy
    from pyflink.datastream import KeyedProcessFunction, StreamExecutionEnvironment
    from pyflink.datastream.connectors.kafka import KafkaOffsetsInitializer, KafkaSource
    from pyflink.datastream.state import ValueStateDescriptor
    from pyflink.table import DataTypes, StreamTableEnvironment
    from pyflink.table.expressions import col
    from pyflink.table.udf import udf

    class Windows(KeyedProcessFunction):  # type: ignore[misc]  # Any: pyflink is not followed
        def open(self, context: Any) -> None:  # noqa: ANN401
            described = ValueStateDescriptor("windows", Types.PICKLED_BYTE_ARRAY())
            self._state = context.get_state(described)

        def process_element(self, value: Any, context: Any) -> Iterator[Any]:  # noqa: ANN401
            windows = self._state.value() or CustomerWindows()
            row = windows.update(value["event_time"], value["amount_minor"], value["merchant_id"])
            self._state.update(windows)
            yield Row(value["transaction_id"], *map(float, row))

    loaded: list[Model] = []

    def score(*columns: pd.Series[float]) -> pd.Series[float]:
        if not loaded:
            loaded.append(Model(folder))
        return pd.Series(loaded[0].score(np.column_stack(columns)).astype(np.float64))

    environment = StreamExecutionEnvironment.get_execution_environment()
    environment.set_parallelism(1)
    environment.set_python_executable(sys.executable)
    environment.add_jars(f"file://{os.environ['FLINK_JAR']}")
    here = Path(__file__).parent
    environment.add_python_file(str(here / "windows_python.py"))
    tables = StreamTableEnvironment.create(environment)
    source = (
        KafkaSource.builder()
        .set_bootstrap_servers(brokers)
        .set_topics(topic_in)
        .set_group_id("job")
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_value_only_deserializer(SimpleStringSchema())
        .build()
    )
    names = ["transaction_id", *COLUMNS]
    features = (
        environment.from_source(source, WatermarkStrategy.no_watermarks(), "in")
        .map(json.loads, Types.PICKLED_BYTE_ARRAY())
        .key_by(lambda told: told["customer_id"], Types.STRING())
        .process(Windows(), Types.ROW_NAMED(names, [Types.STRING(), *[Types.DOUBLE()] * len(COLUMNS)]))
    )
    tables.execute_sql(
        "CREATE TABLE decisions (transaction_id STRING, score DOUBLE) WITH ('connector' = 'kafka', "
        f"'topic' = '{topic_out}', 'properties.bootstrap.servers' = '{brokers}', 'format' = 'json')"
    )
    scoring = udf(score, result_type=DataTypes.DOUBLE(), func_type="pandas")
    scored = tables.from_data_stream(features).select(
        col("transaction_id"), scoring(*map(col, COLUMNS)).alias("score")
    )
    scored.execute_insert("decisions").wait()


CONTESTANTS = {each.__name__: each for each in (loop, bytewax, quixstreams, spark, flink)}

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    CONTESTANTS[sys.argv[1]](*sys.argv[2:7])
