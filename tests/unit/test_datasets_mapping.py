"""Column mapping: what is named, what is guessed, what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudengine.datasets import ReadOptions
from fraudengine.datasets.mapping import parse_mapping, resolve_columns
from fraudengine.errors import ConfigError, SchemaError
from fraudengine.schema import COLUMNS, REQUIRED_COLUMNS

NAMES = [column.name for column in COLUMNS]
FOREIGN = st.text(alphabet="abcdefgh", min_size=12, max_size=16)


@given(st.dictionaries(st.sampled_from(NAMES), FOREIGN, min_size=0))
def test_pairs_are_parsed_back(mapping: dict[str, str]) -> None:
    assert parse_mapping(f"{canonical}={source}" for canonical, source in mapping.items()) == mapping


@given(st.dictionaries(st.sampled_from(NAMES), FOREIGN), st.lists(FOREIGN, max_size=4))
def test_what_was_named_wins_and_nothing_foreign_is_guessed(
    mapping: dict[str, str], others: list[str]
) -> None:
    mapping = {**{name: f"{name}_of_ours" for name in REQUIRED_COLUMNS}, **mapping}
    resolved = resolve_columns([*mapping.values(), *others], ReadOptions(mapping=mapping))
    assert dict(resolved.sources) == mapping


def test_common_names_are_guessed_and_said() -> None:
    resolved = resolve_columns(["TX_ID", "tx_datetime", "customer", "terminal_id", "Amount"], ReadOptions())
    assert resolved.sources["merchant_id"] == "terminal_id"
    assert resolved.sources["transaction_id"] == "TX_ID"
    assert resolved.amount_in_major
    assert "column 'terminal_id' is read as merchant_id" in resolved.notices


def test_canonical_names_need_no_notice() -> None:
    resolved = resolve_columns(NAMES, ReadOptions())
    assert resolved.notices == ()
    assert not resolved.amount_in_major


def test_an_ambiguous_optional_column_is_left_out_and_said() -> None:
    resolved = resolve_columns([*REQUIRED_COLUMNS, "merchant", "terminal_id"], ReadOptions())
    assert "merchant_id" not in resolved.sources
    assert "could each be merchant_id" in resolved.notices[0]


def test_a_missing_required_column_names_what_was_found_and_what_to_do() -> None:
    with pytest.raises(SchemaError) as caught:
        resolve_columns(["a", "b", "event_time", "amount"], ReadOptions())
    text = str(caught.value)
    assert "no column for transaction_id, customer_id; found: a, b, event_time, amount" in text
    assert "--map customer_id=COLUMN" in text
    assert "@row" in text


def test_an_ambiguous_required_column_lists_the_candidates() -> None:
    with pytest.raises(SchemaError, match="'account' and 'user_id' could each be customer_id"):
        resolve_columns(["id", "ts", "account", "user_id", "amount"], ReadOptions())


@pytest.mark.parametrize(
    ("mapping", "match"),
    [
        ({"customer_id": "nowhere"}, "customer_id is mapped to 'nowhere', which is not a column; found: "),
        ({"customer_id": "@row"}, "only transaction_id can be mapped to @row"),
    ],
)
def test_mappings_that_lead_nowhere(mapping: dict[str, str], match: str) -> None:
    with pytest.raises(SchemaError, match=match):
        resolve_columns(NAMES, ReadOptions(mapping=mapping))


@pytest.mark.parametrize("pairs", [["a"], ["=b"], ["a="], ["customer_id=a", "customer_id=b"]])
def test_malformed_pairs_are_refused(pairs: list[str]) -> None:
    with pytest.raises(ConfigError, match="--map"):
        parse_mapping(pairs)


@pytest.mark.parametrize(
    "options",
    [
        {"mapping": {"colour": "x"}},
        {"mapping": {"event_time": "a"}, "time_column": "b"},
        {"amount_unit": "cents"},
        {"currency": "euro"},
        {"label_delay_micros": -1},
    ],
)
def test_options_that_contradict_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        ReadOptions(**options)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    ("source", "unit", "in_major"),
    [
        ("amount", None, True),
        ("amount_cents", None, False),
        ("amount", "minor", False),
        ("amount_minor", "major", True),
    ],
)
def test_the_unit_of_amounts(source: str, unit: str | None, in_major: bool) -> None:
    options = ReadOptions(amount_column=source, amount_unit=unit)
    assert (
        resolve_columns(["transaction_id", "event_time", "customer_id", source], options).amount_in_major
        is in_major
    )


def test_presets_are_corrected_column_by_column() -> None:
    options = ReadOptions.preset("handbook").updated(mapping={"merchant_id": "shop"}, time_zone=None)
    assert options.sources["merchant_id"] == "shop"
    assert options.sources["amount_minor"] == "amount"
    assert options.time_zone == "UTC"
    with pytest.raises(ConfigError, match="known names: handbook"):
        ReadOptions.preset("nobody")
