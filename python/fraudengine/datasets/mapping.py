"""Which source column is which canonical column: what the user said, then exact names, then aliases.

A name is guessed only when exactly one source column has one of the known names (case ignored) and
nothing else claims it. Every guess becomes a notice. A required column that cannot be found is a
`SchemaError` that lists what was found and how to map it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fraudengine.datasets.options import ROW_SOURCE, ReadOptions
from fraudengine.errors import ConfigError, SchemaError
from fraudengine.schema import COLUMNS, REQUIRED_COLUMNS

__all__ = ["Resolved", "parse_mapping", "resolve_columns"]

_ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "transaction_id": ("tx_id", "txn_id", "trans_id", "trans_num", "transactionid", "id"),
    "event_time": (
        "timestamp", "event_timestamp", "tx_datetime", "transaction_time", "transaction_date",
        "trans_date_trans_time", "datetime", "created_at", "ts",
    ),
    "customer_id": ("customer", "client_id", "account_id", "account", "user_id", "cc_num"),
    "card_id": ("card", "card_token"),
    "device_id": ("device", "device_fingerprint"),
    "merchant_id": ("merchant", "merchant_name", "terminal_id", "terminal"),
    "ip_address": ("ip", "ip_addr", "client_ip"),
    "amount_minor": ("amount", "amt", "tx_amount", "transaction_amount", "transactionamt", "amount_cents"),
    "currency": ("currency_code",),
    "merchant_category": ("mcc", "merchant_category_code"),
    "country": ("country_code", "merchant_country"),
    "latitude": ("lat", "merch_lat"),
    "longitude": ("lon", "long", "lng", "merch_long"),
    "is_fraud": ("label", "tx_fraud", "isfraud", "fraud", "class"),
    "label_known_time": ("label_time", "reported_at"),
    "typology": ("fraud_type", "tx_fraud_scenario"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Resolved:
    """Where each canonical column comes from.

    Attributes
    ----------
    sources
        Canonical column to source column; columns the history lacks are not in it.
    amount_in_major
        Whether the amount is in major units and is to be converted.
    notices
        What was guessed, one sentence each.
    """

    sources: Mapping[str, str]
    amount_in_major: bool
    notices: tuple[str, ...]


def parse_mapping(pairs: Iterable[str]) -> dict[str, str]:
    """Parse `canonical=source` pairs as given to `--map`.

    Raises
    ------
    ConfigError
        A pair has no `=`, an empty side, or names a canonical column twice.

    Examples
    --------
    >>> from fraudengine.datasets.mapping import parse_mapping
    >>> parse_mapping(["merchant_id=terminal_id"])
    {'merchant_id': 'terminal_id'}
    """
    mapping: dict[str, str] = {}
    for pair in pairs:
        canonical, separator, source = pair.partition("=")
        if not (separator and canonical and source):
            raise ConfigError(
                f"--map {pair!r} must be written canonical=source, e.g. merchant_id=terminal_id"
            )
        if canonical in mapping:
            raise ConfigError(f"--map names {canonical} twice: {mapping[canonical]!r} and {source!r}")
        mapping[canonical] = source
    return mapping


def resolve_columns(names: Sequence[str], options: ReadOptions) -> Resolved:
    """Decide which source column feeds each canonical column.

    Parameters
    ----------
    names
        Columns of the source, in its order.
    options
        What the user said.

    Raises
    ------
    SchemaError
        A mapped source column does not exist, or a required column cannot be found.
    """
    sources = dict(options.sources)
    _check_named(sources, names)
    sources |= {name: name for name in _unclaimed(COLUMNS_BY_NAME, sources) if name in names}
    notices: list[str] = []
    claimed = set(sources.values())
    free: dict[str, str] = {}
    for name in names:
        if name not in claimed and name not in COLUMNS_BY_NAME:
            free.setdefault(name.casefold(), name)
    for canonical in _unclaimed(_ALIASES, sources):
        candidates = [free[alias] for alias in (canonical, *_ALIASES[canonical]) if alias in free]
        if len(candidates) == 1:
            sources[canonical] = candidates[0]
            notices.append(f"column {candidates[0]!r} is read as {canonical}")
        elif candidates:
            shown = " and ".join(repr(name) for name in candidates)
            notices.append(
                f"{shown} could each be {canonical}; choose with --map {canonical}={candidates[0]}"
            )
    _check_required(sources, names, notices)
    in_major = _amount_in_major(sources["amount_minor"], options, notices)
    return Resolved(sources, in_major, tuple(notices))


COLUMNS_BY_NAME: Final = {column.name: column for column in COLUMNS}
"""The schema's columns by canonical name."""


def _unclaimed(canonical: Iterable[str], sources: Mapping[str, str]) -> list[str]:
    return [name for name in canonical if name not in sources]


def _check_named(sources: Mapping[str, str], names: Sequence[str]) -> None:
    for canonical, source in sources.items():
        if source == ROW_SOURCE and canonical != "transaction_id":
            raise SchemaError(f"only transaction_id can be mapped to {ROW_SOURCE}, not {canonical}")
        if source != ROW_SOURCE and source not in names:
            raise SchemaError(
                f"{canonical} is mapped to {source!r}, which is not a column; found: {_shown(names)}"
            )


def _check_required(sources: Mapping[str, str], names: Sequence[str], notices: Sequence[str]) -> None:
    missing = [name for name in REQUIRED_COLUMNS if name not in sources]
    if not missing:
        return
    hints = [notice for notice in notices if any(f"--map {name}=" in notice for name in missing)]
    how = " ".join(f"--map {name}=COLUMN" for name in missing)
    rows = (
        f" (or --map transaction_id={ROW_SOURCE} to number the records)"
        if "transaction_id" in missing
        else ""
    )
    detail = f"; {'; '.join(hints)}" if hints else ""
    raise SchemaError(
        f"no column for {', '.join(missing)}; found: {_shown(names)}{detail}; name it with {how}{rows}"
    )


def _amount_in_major(source: str, options: ReadOptions, notices: list[str]) -> bool:
    if options.amount_unit is not None:
        return options.amount_unit == "major"
    in_minor = source.casefold().endswith(("_minor", "_cents"))
    if source != "amount_minor":
        unit = "minor" if in_minor else "major"
        notices.append(f"amounts in {source!r} are taken as {unit} units; say otherwise with --amount-unit")
    return not in_minor


def _shown(names: Sequence[str]) -> str:
    limit = 30
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more if names else "no columns at all"
