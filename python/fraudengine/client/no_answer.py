"""What a client does when the service does not decide in time: a setting, never a silent approval."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from fraudengine.client.results import Decision
from fraudengine.client.transaction import Transaction
from fraudengine.engine import Action
from fraudengine.errors import ConfigError

if TYPE_CHECKING:
    from fraudengine.errors import NoAnswerError

__all__ = ["NoAnswer", "OnNoAnswer", "by_amount", "without_answer"]


class NoAnswer(Enum):
    """What to do with a transaction that the service did not decide."""

    RAISE = "raise"
    """Raise `fraudengine.errors.NoAnswerError`."""
    REVIEW = "review"
    """Review it."""
    BLOCK = "block"
    """Block it."""


OnNoAnswer = NoAnswer | Callable[[Transaction], Action]
"""The setting: one of `NoAnswer`, or a function from the transaction to the action, such as `by_amount`."""

_ACTIONS = {NoAnswer.REVIEW: Action.REVIEW, NoAnswer.BLOCK: Action.BLOCK}


def by_amount(
    limit_minor: int, *, below: Action, above: Action, currency: str | None = None
) -> Callable[[Transaction], Action]:
    """Return a setting that acts by the amount of the transaction.

    Parameters
    ----------
    limit_minor
        In minor units; an amount equal to it is above.
    below, above
        What to do with smaller amounts, and with the others.
    currency
        Currency of the limit, as transactions name it. Amounts of another one count as above.

    Examples
    --------
    >>> from fraudengine import Action
    >>> from fraudengine.client import Transaction, by_amount
    >>> rule = by_amount(50_00, below=Action.APPROVE, above=Action.BLOCK, currency="EUR")
    >>> paid = Transaction(transaction_id="t", event_time=0, customer_id="c", amount="49.99", currency="EUR")
    >>> rule(paid).name
    'APPROVE'
    """

    def rule(transaction: Transaction) -> Action:
        amount = transaction.amount_minor
        small = amount is not None and 0 <= amount < limit_minor and transaction.currency == currency
        return below if small else above

    return rule


def without_answer(setting: OnNoAnswer, transaction: Transaction, error: NoAnswerError) -> Decision:
    """Return what the setting says about a transaction that was not decided; it says why.

    Raises
    ------
    NoAnswerError
        The setting is to raise it.
    ConfigError
        The setting's function returned no action.
    """
    if setting is NoAnswer.RAISE:
        raise error
    action = _ACTIONS[setting] if isinstance(setting, NoAnswer) else setting(transaction)
    if not isinstance(action, Action):
        raise ConfigError(f"on_no_answer returned {action!r}, must return an Action")
    return Decision(
        transaction_id=transaction.transaction_id, action=action, degraded=("no_answer",), no_answer=error
    )
