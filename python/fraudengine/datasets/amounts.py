"""Money, exactly: decimal texts and floating-point columns to whole minor units, or a reason.

No money is ever rounded away: 12.34 is 1234 cents, and 12.345 is refused in a currency of two decimals.
A text is read as a decimal number. A float counts as the whole number of minor units it is nearest to, if
it is within the noise of a few floating-point additions of it (2^-49 of its size). The columnar path and
the scalar `parse_amount` agree on every value (property-tested); the scalar one also explains a refusal.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Final

import polars as pl

from fraudengine.errors import ConfigError
from fraudengine.schema import AMOUNT_MINOR_MAX

__all__ = ["DIGITS_DEFAULT", "amounts_to_minor", "currency_digits", "minor_digits", "parse_amount"]

DIGITS_DEFAULT: Final = 2
"""Digits after the decimal point of most currencies, and of rows whose currency is not known."""

_NO_DECIMALS: Final = (
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND",
    "VUV", "XAF", "XOF", "XPF",
)  # fmt: skip
_THREE_DECIMALS: Final = ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")
_DIGITS: Final = dict.fromkeys(_NO_DECIMALS, 0) | dict.fromkeys(_THREE_DECIMALS, 3)
_CODE: Final = re.compile(r"[A-Z]{3}")
# Integers up to 2^24 are exact in float32; beyond, several amounts share one float and none is "the" amount.
_FLOAT32_EXACT_MAX: Final = 1 << 24
_PLAIN_DECIMAL: Final = r"^\d{1,12}(?:\.\d{1,6})?$"
# A sum of cents in floating point is off by a few units in the last place (2^-52 each); a real third
# decimal is off by far more. Texts of 16 digits and more are printed floats, and follow the same rule.
_FLOAT_NOISE: Final = 2.0**-49
_PRINTED_FLOAT_DIGITS: Final = 16


def minor_digits(currency: str) -> int:
    """Return the digits after the decimal point of a currency (ISO 4217 exponent): 0, 2 or 3.

    Raises
    ------
    ConfigError
        The code is not three capital letters.
    """
    if not _CODE.fullmatch(currency):
        raise ConfigError(f"{currency!r} is not an ISO 4217 code (three capital letters)")
    return _DIGITS.get(currency, DIGITS_DEFAULT)


def currency_digits(currencies: pl.Series, default: int) -> pl.Series:
    """Return the ISO 4217 exponent of each currency code (Int64); `default` where it is null."""
    digits = currencies.replace_strict(_DIGITS, default=DIGITS_DEFAULT, return_dtype=pl.Int64)
    return pl.select(pl.when(currencies.is_null()).then(default).otherwise(digits)).to_series()


def parse_amount(value: object, digits: int) -> tuple[int | None, str]:
    """Convert one amount to minor units, or say why not.

    Parameters
    ----------
    value
        Text, integer, float or Decimal in units of 10^digits minor units.
    digits
        Decimals the currency has; 0 when the value already is in minor units.

    Returns
    -------
    tuple
        The amount in minor units and an empty text, or None and the reason.

    Examples
    --------
    >>> from fraudengine.datasets.amounts import parse_amount
    >>> parse_amount("12.50", 2)
    (1250, '')
    >>> parse_amount(12.345, 2)
    (None, 'has more than 2 decimals')
    """
    text = str(value).strip()
    # Without this bound a text of a million digits, or an exponent of a billion, would cost that much.
    if len(text) > 64 or "_" in text:
        return None, "is not a number"
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None, "is not a number"
    if not number.is_finite():
        return None, "is not a finite number"
    if number < 0:
        return None, "must not be negative"
    if number == 0:
        return 0, ""
    if number.adjusted() + digits > 12:
        return None, f"is above the limit of {AMOUNT_MINOR_MAX} minor units"
    if number.adjusted() + digits < 0:
        return None, f"has more than {digits} decimals"
    # As a fraction: Decimal arithmetic would round to 28 digits and let a longer text through.
    numerator, denominator = number.as_integer_ratio()
    minor, rest = divmod(numerator * 10**digits, denominator)
    if rest:
        if len(number.as_tuple().digits) < _PRINTED_FLOAT_DIGITS:
            return None, f"has more than {digits} decimals"
        minor += 2 * rest >= denominator
        if abs(Decimal(minor).scaleb(-digits) - number) > number * Decimal(_FLOAT_NOISE):
            return None, f"has more than {digits} decimals"
    if minor > AMOUNT_MINOR_MAX:
        return None, f"is above the limit of {AMOUNT_MINOR_MAX} minor units"
    return minor, ""


def amounts_to_minor(amounts: pl.Series, digits: pl.Series) -> pl.Series:
    """Convert a column of amounts to minor units.

    Parameters
    ----------
    amounts
        Integer, float, Decimal or String column.
    digits
        Int64 column of the same length: decimals of each row's currency (0: already minor units).

    Returns
    -------
    polars.Series
        Int64, 0 to `AMOUNT_MINOR_MAX`; null where the value is missing or cannot be converted by the
        columnar path. `parse_amount` decides those.
    """
    frame = pl.DataFrame({"amount": amounts, "digits": digits})
    if amounts.dtype.is_float():
        minor = _from_float(pl.col("amount"), is_float32=amounts.dtype == pl.Float32)
    elif amounts.dtype.is_integer():
        minor = _from_integer(pl.col("amount"))
    else:
        minor = _from_text(pl.col("amount").cast(pl.String, strict=False))
    checked = pl.when(minor.is_between(0, AMOUNT_MINOR_MAX)).then(minor)
    return frame.select(checked.cast(pl.Int64).alias("amount_minor")).to_series()


def _factor() -> pl.Expr:
    """Return 10^digits as an integer."""
    return pl.lit(10, dtype=pl.Int64).pow(pl.col("digits")).cast(pl.Int64)


def _from_integer(amount: pl.Expr) -> pl.Expr:
    # Bounded before the product, which wraps around silently.
    bounded = pl.when(amount.is_between(0, AMOUNT_MINOR_MAX)).then(amount)
    return bounded.cast(pl.Int64, strict=False) * _factor()


def _from_float(amount: pl.Expr, *, is_float32: bool) -> pl.Expr:
    """Accept a float within `_FLOAT_NOISE` of a whole number of minor units (float32: nearest to one)."""
    factor = _factor().cast(pl.Float64)
    minor = (amount.cast(pl.Float64) * factor).round()
    back = minor / factor
    if is_float32:
        exact = (back.cast(pl.Float32) == amount) & (minor <= _FLOAT32_EXACT_MAX)
    else:
        exact = (back - amount).abs() <= amount * _FLOAT_NOISE
    return pl.when(exact & minor.is_between(0, AMOUNT_MINOR_MAX)).then(minor).cast(pl.Int64, strict=False)


def _from_text(text: pl.Expr) -> pl.Expr:
    """Read plain decimals of up to six places in fixed point; whatever else is left to `parse_amount`."""
    plain = pl.when(text.str.contains(_PLAIN_DECIMAL)).then(text)
    micro_units = plain.cast(pl.Decimal(38, 6), strict=False).to_physical().cast(pl.Int64, strict=False)
    step = pl.lit(10, dtype=pl.Int64).pow(6 - pl.col("digits")).cast(pl.Int64)
    return pl.when(micro_units % step == 0).then(micro_units // step)
