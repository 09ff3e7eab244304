"""Reading histories: the three formats agree, and hostile files lose their bad rows and nothing else."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fraudengine.datasets import HistoryFormat, ReadOptions, read_history, write_history
from fraudengine.errors import ConfigError, InputError, SchemaError
from fraudengine.schema import EVENT_TIME_MAX_MICROS, EVENT_TIME_MIN_MICROS, polars_schema

HEADER = "transaction_id,event_time,customer_id,amount_minor,merchant_id\n"
SUFFIXES = [".parquet", ".csv", ".jsonl"]
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
ROW = st.fixed_dictionaries(
    {
        "transaction_id": TEXT,
        "event_time": st.integers(EVENT_TIME_MIN_MICROS, EVENT_TIME_MAX_MICROS - 1),
        "customer_id": TEXT,
        "merchant_id": st.none() | TEXT,
        "amount_minor": st.integers(1, 10**11),
        "latitude": st.none() | st.floats(-90, 90),
        "merchant_category": st.none() | st.integers(0, 9_999),
        "is_fraud": st.none() | st.integers(0, 1),
    }
)


def at(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refusals(path: Path, options: ReadOptions | None = None) -> list[tuple[int, str, str]]:
    return read_history(path, options).rejected.select("row", "field", "reason").rows()


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROW, min_size=1, max_size=6))
def test_writing_and_reading_are_inverse(tmp_path: Path, suffix: str, rows: list[dict[str, object]]) -> None:
    schema = polars_schema()
    frame = pl.DataFrame(
        [pl.Series(name, [row.get(name) for row in rows], dtype=dtype) for name, dtype in schema.items()]
    )
    write_history(frame, tmp_path / f"history{suffix}")
    history = read_history(tmp_path / f"history{suffix}")
    assert history.frame.equals(frame)
    assert (history.rows_rejected, history.rows_read, history.notices) == (0, len(rows), ())


def test_a_csv_with_every_kind_of_bad_row_keeps_the_good_ones(tmp_path: Path) -> None:
    lines = [
        b"t1,2024-01-01T00:00:00Z,c1,100,m1",
        b"t2,2024-01-01T00:00:01Z,c1,-5,m1",
        b"t3,yesterday,c1,100,m1",
        b"t4,1812-06-24T00:00:00Z,c1,100,m1",
        b"t5,2024-01-01T00:00:02Z,,100,m1",
        b"t6,2024-01-01T00:00:03Z,c\xff1,100,m1",
        b"t7,2024-01-01T00:00:04Z,c1,100,m1,one too many",
        b't8,2024-01-01T00:00:05Z,"c1,100,m1',
        b"t9,2024-01-01T00:00:06Z,c1,NaN,m1",
        b"t1,2024-01-01T00:00:07Z,c1,100,",
        b't11,2024-01-01T00:00:08Z,"c, ""1""",0.5,m1',
        b't12,2024-01-01T00:00:09Z,"c, ""1""",100,m1',
    ]
    history = read_history(at(tmp_path, "bad.csv", HEADER.encode() + b"\n".join(lines) + b"\n"))
    assert history.frame["transaction_id"].to_list() == ["t1", "t1", "t12"]
    assert history.frame["customer_id"].to_list() == ["c1", "c1", 'c, "1"']
    assert history.frame["merchant_id"].to_list() == ["m1", None, "m1"]
    assert history.row_numbers.to_list() == [1, 10, 12]
    assert history.rejected.select("row", "field", "value").rows() == [
        (2, "amount_minor", "-5"),
        (3, "event_time", "yesterday"),
        (4, "event_time", "1812-06-24T00:00:00Z"),
        (5, "customer_id", None),
        (6, "record", None),
        (7, "record", None),
        (8, "record", None),
        (9, "amount_minor", "NaN"),
        (11, "amount_minor", "0.5"),
    ]
    assert (history.rows_read, history.rows_rejected) == (12, 9)
    reasons = dict(history.rejected.select("row", "reason").rows())
    assert reasons[6] == "is not valid UTF-8"
    assert reasons[7] == "has 6 fields, the header has 5"
    assert reasons[8].startswith("is not valid CSV")


def test_a_json_file_with_every_kind_of_bad_line_keeps_the_good_ones(tmp_path: Path) -> None:
    good = '{"transaction_id": 1, "event_time": "2024-01-01T00:00:00Z", "customer_id": "c", "amount": 12.10}'
    lines = [
        good.encode(),
        b"{half an object",
        b"[1, 2]",
        good.replace('"c"', '"c\xff"').encode("latin-1"),
        b"",
        good.replace("12.10", "12.105").encode(),
        good.replace("12.10", "NaN").encode(),
        good.replace('"c"', '{"deep": 1}').encode(),
        b"[" * 100_000,
        good.replace("}", ', "merchant_id": "late"}').encode(),
    ]
    history = read_history(at(tmp_path, "bad.jsonl", b"\n".join(lines)))
    assert history.frame["amount_minor"].to_list() == [1_210, 1_210]
    assert history.frame["merchant_id"].to_list() == [None, "late"]
    found = history.rejected.select("row", "field").rows()
    assert found == [
        (2, "record"),
        (3, "record"),
        (4, "record"),
        (5, "amount_minor"),
        (6, "amount_minor"),
        (7, "customer_id"),
        (8, "record"),
    ]


def test_an_array_or_object_is_no_identifier_in_an_otherwise_clean_json_file(tmp_path: Path) -> None:
    line = '{"transaction_id": "%s", "event_time": "2024-01-01T00:00:00Z", "customer_id": %s, "amount": 1}'
    customers = ['"c"', '["c"]', '{"deep": "d"}', '"[c]"']
    lines = [line % (number, customer) for number, customer in enumerate(customers)]
    history = read_history(at(tmp_path, "nested.jsonl", "\n".join(lines).encode()))
    assert history.frame["customer_id"].to_list() == ["c", "[c]"]
    assert history.rejected.select("row", "field", "value", "reason").rows() == [
        (2, "customer_id", '["c"]', "is not a single value"),
        (3, "customer_id", '{"deep": "d"}', "is not a single value"),
    ]


def test_a_parquet_file_with_nan_and_absurd_values(tmp_path: Path) -> None:
    moment = dt.datetime(2024, 1, 1)
    frame = pl.DataFrame(
        {
            "transaction_id": [1, 2, 3, 4, 5],
            "event_time": [moment, moment, moment, dt.datetime(1970, 1, 1), None],
            "customer_id": [1.0, 2.0, 2.5, 4.0, 5.0],
            "amount": [0.1, float("nan"), 1.0, float("inf"), -1.0],
            "latitude": [float("nan"), 1.0, 1.0, 1.0, 1.0],
        }
    )
    frame.write_parquet(tmp_path / "h.parquet")
    history = read_history(tmp_path / "h.parquet")
    assert history.frame.select("transaction_id", "customer_id", "amount_minor", "latitude").rows() == [
        ("1", "1", 10, None)
    ]
    assert sorted(history.rejected.select("row", "field").rows()) == [
        (2, "amount_minor"),
        (3, "customer_id"),
        (4, "amount_minor"),
        (4, "event_time"),
        (5, "amount_minor"),
        (5, "event_time"),
    ]
    assert history.rows_rejected == 4


def test_a_card_number_is_never_shown(tmp_path: Path) -> None:
    path = at(
        tmp_path, "h.csv", HEADER + "t1,4111 1111 1111 1111,c1,100,m1\nt2,2024-01-01,c1,1234567890123456,m1\n"
    )
    shown = read_history(path).rejected["value"].to_list()
    assert shown == ["[card number]", "1234567890123456"]


def test_the_delay_fills_only_unknown_arrival_times(tmp_path: Path) -> None:
    rows = (
        "transaction_id,event_time,customer_id,amount_minor,is_fraud,label_known_time\n"
        "1,2024-01-01T00:00:00Z,c,1,1,\n2,2024-01-01T00:00:00Z,c,1,0,2024-01-02T00:00:00Z\n3,2024-01-01T00:00:00Z,c,1,,\n"
    )
    history = read_history(at(tmp_path, "h.csv", rows), ReadOptions(label_delay_micros=604_800_000_000))
    first, second, third = history.frame["label_known_time"].to_list()
    assert (first.day, second.day, third) == (8, 2, None)
    assert history.has_labels


def test_rows_can_stand_in_for_ids_and_amounts_follow_the_currency(tmp_path: Path) -> None:
    rows = "when,who,amount,currency\n1704067200,a,500,JPY\n1704067201,a,1.234,KWD\n1704067202,a,1.234,EUR\n"
    options = ReadOptions(mapping={"transaction_id": "@row", "customer_id": "who"}, time_column="when")
    history = read_history(at(tmp_path, "h.csv", rows), options)
    assert history.frame.select("transaction_id", "amount_minor").rows() == [("1", 500), ("2", 1_234)]
    assert refusals(tmp_path / "h.csv", options) == [(3, "amount_minor", "has more than 2 decimals")]
    assert "times in 'when' are taken as s since 1970-01-01 UTC" in history.notices


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("h.csv", "", "is empty"),
        ("h.parquet", "PAR1 but not really", "cannot be read as parquet"),
        ("h.jsonl", "no json\n", "no JSON object in the first"),
        ("h.dat", "x", "is no known format"),
        ("h.csv", b"\xff\xfe,b\n", "cannot be read as csv"),
        ("h.csv", "a,a\n1,2\n", "'a' more than once"),
        ("h.csv", "a,b\n1,2\n", "no column for transaction_id"),
    ],
)
def test_files_that_are_no_history(tmp_path: Path, name: str, content: str | bytes, match: str) -> None:
    with pytest.raises(InputError, match=match):
        read_history(at(tmp_path, name, content))


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_history(tmp_path / "nothing.csv")
    with pytest.raises(InputError, match="is not a file"):
        read_history(tmp_path, ReadOptions(format=HistoryFormat.CSV))
    with pytest.raises(InputError, match="no known format"):
        write_history(pl.DataFrame({"a": [1]}), tmp_path / "h.txt")
    with pytest.raises(InputError, match="cannot be written"):
        write_history(pl.DataFrame({"a": [1]}), tmp_path / "missing" / "h.csv")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_name_that_looks_like_a_pattern_is_a_name(tmp_path: Path, suffix: str) -> None:
    frame = pl.DataFrame(
        {"transaction_id": ["a"], "event_time": ["2024-01-01"], "customer_id": ["c"], "amount_minor": [1]}
    )
    path = tmp_path / f"history[1]*{suffix}"
    write_history(frame, path)
    assert read_history(path).frame["transaction_id"].to_list() == ["a"]


def test_half_a_surrogate_pair_spoils_nothing(tmp_path: Path) -> None:
    row = '{"transaction_id": "\\ud800", "event_time": "2024-01-01", "customer_id": "c", "amount_minor": 1}\n'
    assert read_history(at(tmp_path, "h.jsonl", row + "no json\n")).frame.height == 1


@pytest.mark.parametrize("keep", [0.5, 0.99])
def test_a_truncated_parquet_file_is_an_input_error(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "h.parquet"
    pl.DataFrame({"transaction_id": list(range(1_000))}).write_parquet(path)
    content = path.read_bytes()
    with pytest.raises(InputError, match="cannot be read as parquet"):
        read_history(at(tmp_path, "h.parquet", content[: int(keep * len(content))]))


def test_columns_of_an_impossible_type_are_named(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"transaction_id": ["a"], "event_time": [True], "customer_id": [[1]], "amount_minor": [1]}
    )
    frame.write_parquet(tmp_path / "h.parquet")
    with pytest.raises(SchemaError, match="column 'event_time' is of type Boolean, which cannot be a time"):
        read_history(tmp_path / "h.parquet")
    frame.with_columns(event_time=pl.lit("2024-01-01")).write_parquet(tmp_path / "h.parquet")
    with pytest.raises(SchemaError, match="'customer_id' is of type List"):
        read_history(tmp_path / "h.parquet")


def test_an_empty_history_has_the_schema(tmp_path: Path) -> None:
    history = read_history(at(tmp_path, "h.csv", HEADER))
    assert dict(history.frame.schema) == polars_schema()
    assert history.rows_read == 0
    with pytest.raises(ConfigError, match="unknown time zone"):
        read_history(tmp_path / "h.csv", ReadOptions(time_zone="Mars/Olympus"))
