"""Replay of a history that does not fit one machine: the stages of the stream, in order of event time.

```
history ─> Reading ─> Customers ─> Others ─> Settling ─> decisions
             rows      by bucket    by kind    by bucket
                                   and bucket
```

Between two stages Spark sorts the rows of a bucket by event time, on disk where they are many; a stage takes
them in piece by piece and keeps the state of one bucket at a time. All rows being in the order of event time,
what a bucket knows of the clock is enough: nothing is late, and a label is known to the first of its rows at
or after its time, as in the engine.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from pyspark.errors import AnalysisException
from pyspark.sql import functions as sql

from fraudengine import schema
from fraudengine.engine import Action, Flag
from fraudengine.errors import InputError, SchemaError
from fraudengine.features import names as feature_names
from fraudengine.spark import rows
from fraudengine.spark.in_order import PLACE, InOrder
from fraudengine.spark.reading import Plan, Reading
from fraudengine.spark.stages import Customers, Others, Settling
from fraudengine.training.models import ANOMALY_COLUMN
from fraudengine.wire.log_pb2 import DecisionRecord

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

    from fraudengine.bundle import Bundle
    from fraudengine.config import Settings

__all__ = ["DECISIONS", "replayed", "written"]

DECISIONS: Final = (
    "transaction_id string, event_time timestamp, score float, margin float, anomaly float, action string, "
    "flags int, reasons array<string>, reason_weights array<float>, source_file int, source_row long"
)
"""Columns of `fraudengine.replay.replay`, and where the row stands: its file, in the order of their names,
and its number there."""

_FIGURES: Final = ("score", "margin", "anomaly")
_ACTIONS: Final = [action.name.lower() for action in Action]


def replayed(
    session: SparkSession, settings: Settings, bundle: Bundle, history: str, label_delay: timedelta
) -> DataFrame:
    """Return the decisions of a history (`DECISIONS`), one row for each of its rows, in no order.

    Parameters
    ----------
    session
        A running session.
    settings
        Cells, buckets, tasks (`[spark]`) and how features are computed (`[engine]`).
    bundle
        The model.
    history
        Parquet files with canonical columns: a path that Spark can read, a folder or a pattern too.
    label_delay
        Time from a transaction to its label, where the history does not say.

    Raises
    ------
    SchemaError
        A required column is missing.

    """
    plan = _plan(settings)
    spark = settings.spark
    placed = _placed(session, history)
    every = _read(placed, plan, None).union(_read(placed, plan, label_delay))

    def after(frame: DataFrame, keys: list[str], order: list[str], stage: InOrder, made: str) -> DataFrame:
        dealt = frame.repartition(spark.partitions, *keys).sortWithinPartitions(*keys, *order)
        return dealt.mapInPandas(stage, made)

    # A label comes before the transactions of its instant.
    order = ["time", "what", "part", "off"]
    customers = after(
        every, ["bucket"], order, InOrder(partial(Customers, plan), ("bucket",)), rows.TRAVELLING
    )
    others = after(
        customers,
        ["kind", "bucket"],
        order,
        InOrder(partial(Others, plan), ("kind", "bucket")),
        rows.TRAVELLING,
    )
    settling = InOrder(partial(Settling, plan, bundle.activation()), ("home",), _decisions)
    decided = after(others, ["home"], [*PLACE[1:], "kind"], settling, DECISIONS)
    # On the way from pandas NaN has become null.
    nan = sql.lit(float("nan")).cast("float")
    return decided.withColumns({name: sql.coalesce(sql.col(name), nan) for name in _FIGURES})


def written(
    session: SparkSession, settings: Settings, bundle: Bundle, history: str, out: str, label_delay: timedelta
) -> dict[str, int]:
    """Decide a history and write the decisions; return transactions by action, repeated and rejected ones.

    Raises
    ------
    InputError
        The history cannot be read, or there is something at `out` already.
    SchemaError
        A required column is missing.

    """
    try:
        replayed(session, settings, bundle, history, label_delay).write.parquet(out)
    except AnalysisException as error:
        raise InputError(str(error).partition("\n")[0]) from error
    decided = session.read.parquet(out)
    actions = dict(decided.groupBy("action").count().collect())
    flags = decided.groupBy().agg(
        *[sql.count_if(sql.col("flags").bitwiseAND(int(bit)) != 0) for bit in (Flag.DUPLICATE, Flag.REJECTED)]
    )
    repeated, rejected = flags.collect()[0]
    told = {name: int(actions[name]) for name in _ACTIONS if name in actions}
    return {"decisions": int(sum(actions.values())), **told, "repeated": repeated, "rejected": rejected}


def _plan(settings: Settings) -> Plan:
    """Return what the stages share; the rows come as JSON, and no service is asked for anything."""
    as_json = {"transactions_format": "json", "labels_format": "json"}
    reading = settings.model_copy(update={"kafka": settings.kafka.model_copy(update=as_json)})
    return Plan(reading.native_json(only=()), settings.spark.cells, settings.spark.buckets)


def _placed(session: SparkSession, history: str) -> DataFrame:
    """Return the history with the place of each row: `part`, its file, and `off`, its number there."""
    found = session.read.parquet(history)
    missing = [name for name in schema.REQUIRED_COLUMNS if name not in found.columns]
    if missing:
        raise SchemaError(f"{history} lacks {', '.join(missing)}, which every transaction needs")
    paths = sorted(row[0] for row in found.select("_metadata.file_path").distinct().collect())
    numbers = sql.create_map(
        *[sql.lit(each) for pair in zip(paths, range(len(paths)), strict=True) for each in pair]
    )
    return found.select(
        *found.columns,
        sql.element_at(numbers, sql.col("_metadata.file_path")).alias("part"),
        sql.col("_metadata.row_index").alias("off"),
    )


def _read(placed: DataFrame, plan: Plan, delay: timedelta | None) -> DataFrame:
    """Return the checked transactions as travelling rows; the labels of frauds where there is a delay."""
    there = set(placed.columns)
    told = [column for column in schema.COLUMNS if column.name in there and not column.label]
    fields = [_field(column) for column in told]
    if delay is not None:
        if "is_fraud" not in there:
            return placed.sparkSession.createDataFrame([], rows.TRAVELLING)
        placed = placed.where("is_fraud = 1")
        due = _micros("event_time") + sql.lit(delay // timedelta(microseconds=1))
        if "label_known_time" in there:
            due = sql.coalesce(_micros("label_known_time"), due)
        fields += [sql.lit(1).alias("is_fraud"), due.alias("label_known_time_micros")]
    value = sql.to_json(sql.struct(*fields)).cast("binary")
    place = [sql.col("part").alias("partition"), sql.col("off").alias("offset"), sql.lit(-1).alias("stamp")]
    records = placed.select(value.alias("value"), *place)
    read = records.mapInPandas(Reading(plan, delay is not None), rows.TRAVELLING)
    # The clock of a whole batch says nothing here; a row that breaks a limit is told once, as a transaction.
    return read.where(f"what = {rows.LABEL}" if delay is not None else f"what <> {rows.CLOCK}")


def _field(column: schema.Column) -> Column:
    named = _micros(column.name) if column.dtype == schema.TIME else sql.col(column.name)
    return named.alias(column.proto_name)


def _micros(name: str) -> Column:
    """Return a time as microseconds since 1970; the session's zone is UTC."""
    return sql.unix_micros(sql.col(name).cast("timestamp"))


def _decisions(decided: pd.DataFrame) -> pd.DataFrame:
    """Return rows of `DECISIONS`."""
    refused = decided["what"].to_numpy() == rows.LETTER
    known = set(feature_names())
    ids, reasons, weights = [], [], []
    for record, is_letter in zip(decided["record"], refused, strict=True):
        told = DecisionRecord() if is_letter else DecisionRecord.FromString(record)
        ids.append(None if is_letter else told.transaction.transaction_id)
        # What is no feature is the forest's anomaly, which has another name on the wire.
        named = [reason.feature if reason.feature in known else ANOMALY_COLUMN for reason in told.reasons]
        reasons.append(named)
        weights.append([reason.contribution for reason in told.reasons])
    actions = np.array(_ACTIONS, dtype=object)[decided["action"].to_numpy()]
    times = pd.Series(pd.to_datetime(decided["time"].to_numpy(), unit="us", utc=True))
    return pd.DataFrame(
        {
            "transaction_id": ids,
            "event_time": times.where(~refused),
            "score": decided["score"].to_numpy(),
            "margin": decided["margin"].to_numpy(),
            "anomaly": decided["anomaly"].to_numpy(),
            "action": np.where(refused, None, actions),
            "flags": np.where(refused, int(Flag.REJECTED), decided["flags"].to_numpy()).astype(np.int32),
            "reasons": reasons,
            "reason_weights": weights,
            "source_file": decided["part"].to_numpy().astype(np.int32),
            "source_row": decided["off"].to_numpy(),
        }
    )
