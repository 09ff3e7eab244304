"""One contestant of the window benchmark: computes the windows of customers over the events, when asked.

    INTERPRETER work_windows.py NAME FOLDER

Each function takes the events as its library reads them (made before) and returns the columns it can express
by name, in the order of the events. Every event gets its own features, as a decision needs them: windows
that answer once per pane would be something else.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import calls
from windows_python import COLUMNS, DAY, HOUR, WEEK, CustomerWindows

SPANS = {"1h": HOUR, "24h": DAY, "7d": WEEK}
"""Microseconds by the name of a window."""
Columns = dict[str, Any]


def as_columns(rows: list[tuple[float, ...]]) -> Columns:
    """Return rows of all features as columns."""
    return dict(zip(COLUMNS, np.array(rows).T, strict=True))


def engine(frame: pl.DataFrame) -> Any:  # noqa: ANN401 - as every entry of CONTESTANTS
    """Return the engine: the whole catalogue, of which the same columns are taken."""
    from fraudengine import features

    def run() -> Columns:
        matrix = features.build(frame)
        return {name: matrix.values[:, matrix.names.index(name)] for name in COLUMNS}

    return run


def loop(frame: pl.DataFrame) -> Any:  # noqa: ANN401
    """Return a plain loop over dictionaries and deques."""
    events = list(frame.select("customer_id", "micros", "amount_minor", "merchant_id").iter_rows())

    def run() -> Columns:
        customers: dict[str, CustomerWindows] = {}
        rows = []
        for customer, *event in events:
            windows = customers.get(customer)
            if windows is None:
                windows = customers[customer] = CustomerWindows()
            rows.append(windows.update(*event))
        return as_columns(rows)

    return run


def bytewax(frame: pl.DataFrame) -> Any:  # noqa: ANN401
    """Return a dataflow with `stateful_map`: its window operators answer per window, not per event."""
    import bytewax.operators as op
    from bytewax.dataflow import Dataflow
    from bytewax.testing import TestingSink, TestingSource, run_main

    rows = frame.select("customer_id", "micros", "amount_minor", "merchant_id").iter_rows()
    events = [(customer, (place, *event)) for place, (customer, *event) in enumerate(rows)]

    def step(state: CustomerWindows | None, event: tuple[int, int, int, str]) -> tuple[Any, Any]:
        state = state or CustomerWindows()
        return state, (event[0], state.update(*event[1:]))

    def run() -> Columns:
        out: list[Any] = []
        flow = Dataflow("windows")
        stream = op.input("events", flow, TestingSource(events, batch_size=1000))
        op.output("out", op.stateful_map("windows", stream, step), TestingSink(out))
        run_main(flow)
        out.sort(key=lambda item: item[1][0])
        return as_columns([features for _, (_, features) in out])

    return run


def river(frame: pl.DataFrame) -> Any:  # noqa: ANN401
    """Return rolling statistics per customer; a distinct count cannot be rolled back, so there is none."""
    from river import stats, utils

    rows = frame.select("customer_id", "micros", "amount").iter_rows()
    epoch = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)
    events = [(key, epoch + timedelta(microseconds=micros), amount) for key, micros, amount in rows]
    spans = [timedelta(microseconds=span) for span in SPANS.values()]

    def windows() -> list[Any]:
        means = [utils.TimeRolling(stats.Mean, period=span) for span in spans]
        return means + [utils.TimeRolling(stats.Sum, period=span) for span in spans]

    def run() -> Columns:
        customers: dict[str, list[Any]] = {}
        out = []
        for customer, time, amount in events:
            rolling = customers.get(customer)
            if rolling is None:
                rolling = customers[customer] = windows()
            for each in rolling:
                each.update(amount, t=time)
            out.append((*(each.obj.n for each in rolling[:3]), *(each.get() for each in rolling[3:])))
        return dict(zip(COLUMNS[:6], np.array(out).T, strict=True))

    return run


def polars(frame: pl.DataFrame) -> Any:  # noqa: ANN401
    """Return rolling expressions, and a rolling group for each span of the distinct counts."""
    key, time = "customer_id", "event_time"
    frame = frame.with_columns(one=pl.lit(1.0))
    amount = pl.col("amount")
    columns = [
        column.rolling_sum_by(time, span, closed="right").over(key).alias(f"customer_{name}_{span}")
        for name, column in (("count", pl.col("one")), ("sum", amount))
        for span in SPANS
    ]
    mean = amount.rolling_mean_by(time, "7d", closed="none").over(key)
    columns.append((amount / mean).alias("customer_ratio_mean_7d"))

    def run() -> Columns:
        out = frame.lazy().select(key, time, *columns).collect()
        for span in ("24h", "7d"):
            name = f"customer_merchants_{span}"
            groups = frame.rolling(time, period=span, closed="right", group_by=key)
            distinct = groups.agg(pl.col("merchant_id").n_unique().alias(name))
            out = out.join(distinct, on=[key, time], how="left", maintain_order="left")
        return {name: out[name].to_numpy() for name in COLUMNS}

    return run


def pandas(frame: pl.DataFrame) -> Any:  # noqa: ANN401
    """Return groups with time windows; distinct counts by a function over codes."""
    import pandas as pd

    used = ["event_time", "customer_id", "amount", "merchant_id"]
    events = pd.DataFrame(frame.select(used).to_dict(as_series=False))
    events.index = pd.DatetimeIndex(events["event_time"], name="row")
    events["code"] = pd.factorize(events["merchant_id"])[0].astype(np.float64)

    def run() -> Columns:
        groups = events.groupby("customer_id", sort=False)

        def rolling(span: str, column: str, how: str, closed: str) -> Any:  # noqa: ANN401
            windows = groups.rolling(span.replace("d", "D"), on="event_time", closed=closed)[column]
            if how == "distinct":
                values = windows.apply(lambda codes: len(np.unique(codes)), raw=True)
            else:
                values = getattr(windows, how)()
            # Event times are unique and label the rows, so sorting by them gives the order of the rows.
            return values.droplevel(0).sort_index().to_numpy()

        columns = {f"customer_count_{span}": rolling(span, "amount", "count", "right") for span in SPANS}
        columns |= {f"customer_sum_{span}": rolling(span, "amount", "sum", "right") for span in SPANS}
        mean = rolling("7d", "amount", "mean", "neither")
        columns["customer_ratio_mean_7d"] = events["amount"].to_numpy() / mean
        for span in ("24h", "7d"):
            columns[f"customer_merchants_{span}"] = rolling(span, "code", "distinct", "right")
        return columns

    return run


def placed(frame: pl.DataFrame) -> pl.DataFrame:
    """Return what SQL needs of the events, with the place of each: a table has no order."""
    used = ["place", "customer_id", "micros", "amount_minor", "merchant_id"]
    return frame.with_row_index("place").select(used).cast({"place": pl.Int64})


def spark(frame: pl.DataFrame) -> Any:  # noqa: ANN401
    """Return SQL windows of one worker over a table in memory; distinct counts by the size of a set."""
    from pyspark.sql import SparkSession, Window
    from pyspark.sql import functions as f

    options = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": "1",
    }
    session = SparkSession.builder.appName("windows").master("local[1]").config(map=options).getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    table = placed(frame).to_arrow(compat_level=pl.CompatLevel.oldest())
    events = session.createDataFrame(table).cache()
    events.count()
    order = Window.partitionBy("customer_id").orderBy("micros")
    windows = {span: order.rangeBetween(1 - length, 0) for span, length in SPANS.items()}
    amount = f.col("amount_minor")
    columns = [f.count("*").over(windows[span]).alias(f"customer_count_{span}") for span in SPANS]
    columns += [(f.sum(amount).over(windows[span]) / 100).alias(f"customer_sum_{span}") for span in SPANS]
    mean = f.avg(amount).over(order.rangeBetween(1 - WEEK, -1))
    columns.append((amount / mean).alias("customer_ratio_mean_7d"))
    for span in ("24h", "7d"):
        merchants = f.collect_set("merchant_id").over(windows[span])
        columns.append(f.size(merchants).alias(f"customer_merchants_{span}"))

    def run() -> Columns:
        out = pl.DataFrame(events.select("place", *columns).toArrow()).sort("place")
        return {name: out[name].to_numpy() for name in COLUMNS}

    return run


def flink(frame: pl.DataFrame) -> Any:  # noqa: ANN401
    """Return SQL windows of one task over a table, in batch mode, where they know no distinct counts."""
    from pyflink.table import EnvironmentSettings, TableEnvironment

    tables = TableEnvironment.create(EnvironmentSettings.in_batch_mode())
    tables.get_config().set("parallelism.default", "1")
    tables.create_temporary_view("events", tables.from_pandas(placed(frame).to_pandas()))
    named = [
        f"w{span} AS (PARTITION BY customer_id ORDER BY micros"
        f" RANGE BETWEEN {length - 1} PRECEDING AND CURRENT ROW)"
        for span, length in SPANS.items()
    ]
    columns = [f"COUNT(*) OVER w{span} AS customer_count_{span}" for span in SPANS]
    columns += [
        f"CAST(SUM(amount_minor) OVER w{span} AS DOUBLE) / 100 AS customer_sum_{span}" for span in SPANS
    ]
    earlier = (
        f"OVER (PARTITION BY customer_id ORDER BY micros RANGE BETWEEN {WEEK - 1} PRECEDING AND 1 PRECEDING)"
    )
    columns.append(f"amount_minor / AVG(CAST(amount_minor AS DOUBLE)) {earlier} AS customer_ratio_mean_7d")
    query = f"SELECT place, {', '.join(columns)} FROM events WINDOW {', '.join(named)}"

    def run() -> Columns:
        out = tables.sql_query(query).to_pandas().sort_values("place")
        return {name: out[name].to_numpy() for name in COLUMNS[:7]}

    return run


CONTESTANTS = {each.__name__: each for each in (engine, loop, bytewax, river, polars, pandas, spark, flink)}
MORE_PROCESSES = ("spark", "flink")
"""Who works in processes that it starts."""


class Worker:
    """The events as one contestant reads them."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.frame = pl.read_parquet(folder / "events.parquet")
        self.job = CONTESTANTS[name](self.frame)

    def results(self) -> str:
        """Compute once and write the columns; return the file."""
        file = self.folder / f"{self.name}.npz"
        columns = {name: np.asarray(values, np.float64) for name, values in self.job().items()}
        np.savez(file, **columns)
        return str(file)

    def run(self) -> dict[str, float]:
        """Compute once, timed."""

        def work() -> int:
            self.job()
            return self.frame.height

        if self.name in MORE_PROCESSES:
            return calls.timed(work, partial(calls.tree_seconds, os.getpid()))
        return calls.timed(work)


if __name__ == "__main__":
    worker = Worker(sys.argv[1], Path(sys.argv[2]))
    calls.serve({"results": worker.results, "run": worker.run})
