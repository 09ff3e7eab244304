"""A transaction as a caller has it, and its message on the wire.

What cannot be converted without loss is refused here, with the field and the rule, before anything is sent;
the limits of each value are the service's. A refusal never shows a text: it may be a card number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NotRequired, Required, TypedDict, cast

from fraudengine.datasets.amounts import minor_digits, parse_amount
from fraudengine.errors import ConfigError, RefusedError
from fraudengine.schema import CHANNELS, TRANSACTION_COLUMNS
from fraudengine.wire.transaction_pb2 import Transaction as Message

__all__ = ["Transaction", "TransactionFields", "as_transaction", "to_message"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NAMES = frozenset((*TRANSACTION_COLUMNS, "amount"))
_CHANNEL_NUMBERS = {name: number for number, name in enumerate(CHANNELS, start=1)}
_TEXTS = ("card_id", "device_id", "merchant_id", "ip_address", "currency", "country")
_INT64_MAX = 2**63 - 1


class TransactionFields(TypedDict, total=False):
    """A transaction as a mapping: the names, types and units of `Transaction`."""

    transaction_id: Required[str]
    event_time: Required[datetime | str | int]
    customer_id: Required[str]
    amount_minor: int
    amount: Decimal | str | int
    card_id: NotRequired[str | None]
    device_id: NotRequired[str | None]
    merchant_id: NotRequired[str | None]
    ip_address: NotRequired[str | None]
    currency: NotRequired[str | None]
    channel: NotRequired[str | None]
    merchant_category: NotRequired[int | None]
    country: NotRequired[str | None]
    latitude: NotRequired[float | None]
    longitude: NotRequired[float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One payment to decide. None: not known.

    Attributes
    ----------
    transaction_id
        Identifier, 1 to 128 bytes of UTF-8. One that comes again gets its first answer, so a retry is safe.
    event_time
        When it was paid: a datetime with a zone, a text in ISO 8601 with one, or microseconds since 1970 UTC.
    customer_id
        Account holder.
    amount_minor
        Amount in minor units of the currency (cents), 0 to 10^11. Exactly one of `amount_minor` and `amount`
        is given; it is set in either case.
    amount
        Amount in major units: Decimal, integer or text, never a float, converted exactly; it needs
        `currency`. None once it is converted.
    card_id
        Card token, never a card number.
    device_id, merchant_id, ip_address
        Device or browser; who is paid; where the payment came from.
    currency
        ISO 4217 code; None: the service's reference currency.
    channel
        One of `fraudengine.schema.CHANNELS`.
    merchant_category
        ISO 18245 code, 0 to 9999.
    country
        ISO 3166-1 alpha-2 code of the place of payment.
    latitude, longitude
        Degrees; both or neither.

    Raises
    ------
    RefusedError
        The amount is missing, given twice, or not a whole number of minor units.

    Examples
    --------
    >>> from decimal import Decimal
    >>> from fraudengine.client import Transaction
    >>> Transaction(
    ...     transaction_id="t1", event_time="2025-01-01T12:00:00Z", customer_id="c1",
    ...     amount=Decimal("19.99"), currency="EUR",
    ... ).amount_minor
    1999
    """

    transaction_id: str
    event_time: datetime | str | int
    customer_id: str
    amount_minor: int | None = None
    amount: Decimal | str | int | None = None
    card_id: str | None = None
    device_id: str | None = None
    merchant_id: str | None = None
    ip_address: str | None = None
    currency: str | None = None
    channel: str | None = None
    merchant_category: int | None = None
    country: str | None = None
    latitude: float | None = None
    longitude: float | None = None

    def __post_init__(self) -> None:
        """Convert the amount; see `amount`."""
        if self.amount is not None:
            if self.amount_minor is not None:
                raise _refused("amount", "count", "amount and amount_minor are both given, must be one")
            object.__setattr__(self, "amount_minor", _minor(self.amount, self.currency))
            object.__setattr__(self, "amount", None)
        elif self.amount_minor is None:
            raise _refused("amount_minor", "missing", "amount_minor is required and missing")


def as_transaction(given: Transaction | TransactionFields | Mapping[str, Any]) -> Transaction:
    """Return a transaction from itself or from a mapping with the names of the schema.

    Raises
    ------
    RefusedError
        A name is unknown, a required one is missing, or the amount cannot be converted.
    """
    if isinstance(given, Transaction):
        return given
    mapping: object = given
    if not isinstance(mapping, Mapping):
        raise _wrong_type("", "a Transaction or a mapping", mapping)
    unknown = sorted(str(name) for name in given if name not in _NAMES)
    if unknown:
        known = ", ".join((*TRANSACTION_COLUMNS, "amount"))
        raise _refused("", "field_unknown", f"field {unknown[0]!r} is unknown; the fields are {known}")
    for name in ("transaction_id", "event_time", "customer_id"):
        if given.get(name) is None:
            raise _refused(name, "missing", f"{name} is required and missing")
    return Transaction(**cast("dict[str, Any]", given))


def to_message(transaction: Transaction) -> Message:
    """Return the message of a transaction.

    Raises
    ------
    RefusedError
        A value has the wrong type, or the time has no zone.
    """
    message = Message(event_time_micros=_micros(transaction.event_time))
    for name in ("transaction_id", "customer_id", *_TEXTS):
        value = getattr(transaction, name)
        if value is not None:
            if not isinstance(value, str):
                raise _wrong_type(name, "a text", value)
            try:
                setattr(message, name, value)
            except ValueError as error:
                raise _refused(name, "utf8", f"{name} is not valid Unicode") from error
    for name, most in (("amount_minor", _INT64_MAX), ("merchant_category", 2**31 - 1)):
        value = getattr(transaction, name)
        if value is not None:
            if isinstance(value, bool) or not isinstance(value, int):
                raise _wrong_type(name, "a whole number", value)
            if not -most - 1 <= value <= most:
                raise _refused(name, "out_of_range", f"{name} is {value}, which is out of range")
            setattr(message, name, value)
    for name in ("latitude", "longitude"):
        value = getattr(transaction, name)
        if value is not None:
            if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
                raise _wrong_type(name, "a number", value)
            setattr(message, name, float(value))
    if transaction.channel is not None:
        message.channel = _channel(transaction.channel)
    return message


def _channel(name: str) -> Any:  # noqa: ANN401 - a number of the enumeration, which mypy sees as a type of its own
    number = _CHANNEL_NUMBERS.get(name) if isinstance(name, str) else None
    if number is None:
        raise _refused("channel", "channel_unknown", f"channel must be one of {', '.join(CHANNELS)}")
    return number


def _micros(told: datetime | str | int) -> int:
    if isinstance(told, int) and not isinstance(told, bool):
        if not -_INT64_MAX <= told <= _INT64_MAX:
            raise _refused("event_time", "time_out_of_range", f"event_time is {told}, which is out of range")
        return told
    if isinstance(told, str):
        try:
            told = datetime.fromisoformat(told)
        except ValueError as error:
            message = "event_time is not a moment in ISO 8601, for example 2025-01-01T12:00:00Z"
            raise _refused("event_time", "time_malformed", message) from error
    if not isinstance(told, datetime):
        raise _wrong_type("event_time", "a datetime, a text or microseconds", told)
    if told.tzinfo is None:
        raise _refused("event_time", "time_without_zone", f"event_time {told} has no time zone")
    return (told - _EPOCH) // _MICROSECOND


def _minor(amount: Decimal | str | int, currency: str | None) -> int:
    if isinstance(amount, float | bool) or not isinstance(amount, Decimal | str | int):
        raise _wrong_type("amount", "a Decimal, a text or a whole number", amount)
    if currency is None:
        message = "amount needs currency: it says how many minor units there are; or give amount_minor"
        raise _refused("currency", "missing", message)
    try:
        digits = minor_digits(currency)
    except (ConfigError, TypeError) as error:
        message = "currency is not an ISO 4217 code (three capital letters)"
        raise _refused("currency", "currency_malformed", message) from error
    minor, reason = parse_amount(amount, digits)
    if minor is not None and Decimal(minor).scaleb(-digits) != Decimal(amount):
        # What is read from files forgives the noise of a printed float; a caller's Decimal has none.
        minor, reason = None, f"has more than {digits} decimals"
    if minor is None:
        # A text may be anything, a card number too.
        shown = "" if isinstance(amount, str) else f" {amount}"[:40]
        raise _refused("amount", "amount_malformed", f"amount{shown} {reason}")
    return minor


def _wrong_type(name: str, wanted: str, value: object) -> RefusedError:
    return _refused(
        name, "type", f"{name or 'a transaction'} must be {wanted}, is of type {type(value).__name__}"
    )


def _refused(field: str, code: str, message: str) -> RefusedError:
    return RefusedError(message, field=field, code=code)
