"""The split never uses a label that was not known, and keeps its windows apart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from fraudengine.errors import ConfigError, SchemaError, TrainingError
from fraudengine.training import TrainOptions
from fraudengine.training.split import frame_of, make_split, with_label_times

START = datetime(2024, 3, 1, tzinfo=UTC)


def history(days: float, per_day: int = 200, every: int = 20) -> pl.DataFrame:
    """Return evenly spaced transactions, one fraud in `every`."""
    rows = int(days * per_day)
    times = [START + timedelta(days=days) * (row / rows) for row in range(rows)]
    frame = pl.DataFrame({"event_time": pl.Series(times, dtype=pl.Datetime("us", "UTC"))})
    return with_label_times(
        frame.with_columns(is_fraud=pl.Series(np.arange(rows) % every == 0).cast(pl.Int8)), None
    )


def usable(frame: pl.DataFrame) -> np.ndarray:
    return np.ones(frame.height, bool)


def test_default_windows_of_a_long_history() -> None:
    frame = history(100)
    split = make_split(frame, usable(frame), TrainOptions())
    times = frame["event_time"]
    assert times[int(split.test[0])] == START + timedelta(days=93)
    assert times[int(split.final[-1])] <= START + timedelta(days=86)
    assert times[int(split.final[0])] >= START + timedelta(days=26) - timedelta(minutes=10)
    assert times[int(split.validation[0])] == START + timedelta(days=79)
    assert times[int(split.fit[-1])] <= START + timedelta(days=72)
    assert split.gap
    assert split.supervised


@pytest.mark.parametrize("days", [3, 6, 12, 20, 33, 75])
@pytest.mark.parametrize("delay_days", [0.0, 1.0, 7.0])
def test_no_window_uses_the_future(days: float, delay_days: float) -> None:
    delay = timedelta(days=delay_days)
    frame = with_label_times(history(days, every=5).drop("label_known_time"), delay)
    split = make_split(frame, usable(frame), TrainOptions(label_delay=delay))
    times = frame["event_time"].to_physical().to_numpy()
    known = frame["label_known_time"].to_physical().to_numpy()
    if split.supervised:
        assert known[split.final].max() <= split.train_until_micros
        assert set(split.fit) | set(split.validation) <= set(split.final)
        assert times[split.fit].max() < split.validation_from_micros <= times[split.validation].min()
        assert not split.gap or known[split.fit].max() <= split.validation_from_micros
    assert times[split.final].max() < split.train_until_micros <= times[split.test].min()


def test_an_explicit_cut_is_kept_and_the_rest_tests() -> None:
    frame = history(60)
    cut = START + timedelta(days=40)
    split = make_split(frame, usable(frame), TrainOptions(train_until=cut, test_span=timedelta(days=10)))
    times = frame["event_time"]
    assert times[int(split.test[0])] == cut
    assert times[int(split.test[-1])] < cut + timedelta(days=10)


def test_unusable_and_unlabelled_rows_teach_nothing() -> None:
    frame = history(60)
    frame = frame.with_columns(is_fraud=pl.when(pl.int_range(pl.len()) % 3 != 1).then("is_fraud"))
    frame = with_label_times(frame.drop("label_known_time"), None)
    good = np.arange(frame.height) % 7 != 0
    split = make_split(frame, good, TrainOptions())
    assert good[split.final].all()
    assert frame["is_fraud"].is_not_null().to_numpy()[split.final].all()


def test_a_history_without_labels_is_for_the_forest() -> None:
    frame = with_label_times(history(30).select("event_time"), None)
    split = make_split(frame, usable(frame), TrainOptions())
    assert not split.supervised
    assert split.final.size > 0
    assert split.validation.size == 0


def test_nothing_usable_is_an_error() -> None:
    frame = history(10)
    with pytest.raises(TrainingError, match="no usable"):
        make_split(frame, np.zeros(frame.height, bool), TrainOptions())
    with pytest.raises(TrainingError, match="no transaction happened before"):
        make_split(frame, usable(frame), TrainOptions(train_until=START))


def test_label_times_of_the_history_come_first() -> None:
    frame = history(2).with_columns(label_known_time=pl.lit(None, pl.Datetime("us", "UTC")))
    own = START + timedelta(days=30)
    frame = frame.with_columns(label_known_time=pl.when(pl.int_range(pl.len()) == 0).then(own))
    times = with_label_times(frame, timedelta(days=1))["label_known_time"]
    assert times[0] == own
    assert times[1] == frame["event_time"][1] + timedelta(days=1)


def test_frames_are_put_in_time_order_and_ties_keep_theirs() -> None:
    moments = [START, START - timedelta(days=1), START]
    frame = pl.DataFrame({"event_time": moments, "transaction_id": ["b", "a", "c"]})
    assert frame_of(frame)["transaction_id"].to_list() == ["a", "b", "c"]
    with pytest.raises(SchemaError, match="event_time"):
        frame_of(pl.DataFrame({"time": [1]}))


@pytest.mark.parametrize(
    "bad",
    [
        {"train_until": datetime(2024, 1, 1)},  # the missing zone is the point
        {"test_span": timedelta(0)},
        {"review_fpr": 0.0},
        {"block_fpr": 0.5},
        {"threads": 0},
        {"label_delay": timedelta(days=-1)},
    ],
)
def test_options_outside_their_range_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        TrainOptions(**bad)  # type: ignore[arg-type]  # wrong on purpose
