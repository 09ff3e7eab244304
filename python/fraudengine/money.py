"""What an amount is worth in the engine's reference currency, by the engine's own rates.

Amounts are added across currencies only after this conversion. A currency without a rate has no worth here:
the engine refuses it, so that it can only be in the stores from before a rate was taken away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fraudengine.datasets.amounts import minor_digits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fraudengine.settings import EngineSettings

__all__ = ["Worth"]


@dataclass(frozen=True)
class Worth:
    """Converts to the reference currency.

    Attributes
    ----------
    reference
        ISO 4217 code.
    rates
        Value of one major unit of another currency in major units of the reference.

    """

    reference: str
    rates: Mapping[str, float]

    @classmethod
    def of(cls, engine: EngineSettings) -> Worth:
        """Return what `[engine]` says."""
        return cls(engine.reference_currency, engine.rates)

    def factor(self, currency: str | None) -> float | None:
        """Return minor units of the reference for one minor unit of a currency; `None`: there is no rate.

        Examples
        --------
        >>> Worth("EUR", {"JPY": 0.006}).factor("JPY")
        0.6
        >>> Worth("EUR", {}).factor(None)
        1.0

        """
        if not currency or currency == self.reference:
            return 1.0
        if currency not in self.rates:
            return None
        return float(self.rates[currency] * 10.0 ** (minor_digits(self.reference) - minor_digits(currency)))

    @property
    def minor_of_major(self) -> int:
        """Minor units of one major unit of the reference currency."""
        return int(10 ** minor_digits(self.reference))

    def name(self, currency: str | None) -> str:
        """Return the code of a currency; none was sent: the reference."""
        return currency or self.reference
