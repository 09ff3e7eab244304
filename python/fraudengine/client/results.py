"""What comes of a transaction, as values of Python: frozen, without protobuf."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from fraudengine.engine import Action
from fraudengine.errors import RefusedError
from fraudengine.wire.decision_pb2 import DegradedReason

if TYPE_CHECKING:
    from fraudengine.client.transaction import Transaction
    from fraudengine.errors import NoAnswerError
    from fraudengine.wire.decision_pb2 import Decision as DecisionMessage
    from fraudengine.wire.scoring_pb2 import ScoreResult

__all__ = ["Decision", "Reason", "Refusal"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ACTIONS = {1: Action.APPROVE, 2: Action.REVIEW, 3: Action.BLOCK}
_DEGRADED = {
    value.number: value.name.removeprefix("DEGRADED_REASON_").lower()
    for value in DegradedReason.DESCRIPTOR.values
}


@dataclass(frozen=True, slots=True)
class Reason:
    """One feature that raised the score.

    Attributes
    ----------
    feature
        Its name; `fraudengine features` says what it means.
    value
        Its value for this transaction, in the catalogue's unit; None: it was missing.
    contribution
        How much it moved the log-odds of fraud upwards; above 0.
    """

    feature: str
    value: float | None
    contribution: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do with a transaction.

    Attributes
    ----------
    transaction_id
        Of the transaction.
    event_time
        Of the transaction, UTC; None when there was no answer.
    action
        What to do. One that this version does not know is a review.
    score
        Calibrated probability of fraud, 0 to 1; None: there was no model, or no answer.
    reasons
        Strongest first, at most 4; empty for an approved transaction.
    degraded
        What was missing when deciding, for example `late`; empty: nothing was. `no_answer` when the
        service gave none.
    repeated
        Whether the id was decided before: this is the first answer again.
    model
        First 16 hexadecimal digits of the hash of the bundle that decided; None: no model, or no answer.
    decided_time
        When, by the service's clock, UTC; None when there was no answer.
    no_answer
        Why the service did not decide, so that `action` is what the client's `on_no_answer` says; None: it
        did.
    """

    transaction_id: str
    action: Action
    score: float | None = None
    reasons: tuple[Reason, ...] = ()
    degraded: tuple[str, ...] = ()
    repeated: bool = False
    model: str | None = None
    event_time: datetime | None = None
    decided_time: datetime | None = None
    no_answer: NoAnswerError | None = None

    @property
    def answered(self) -> bool:
        """Whether the service decided."""
        return self.no_answer is None

    def as_dict(self) -> dict[str, Any]:
        """Return the decision as JSON has it: names in small letters, times in ISO 8601."""
        return {
            "transaction_id": self.transaction_id,
            "action": self.action.name.lower(),
            "score": self.score,
            "reasons": [
                {"feature": each.feature, "value": each.value, "contribution": each.contribution}
                for each in self.reasons
            ],
            "degraded": list(self.degraded),
            "repeated": self.repeated,
            "model": self.model,
            "event_time": self.event_time and self.event_time.isoformat(),
            "decided_time": self.decided_time and self.decided_time.isoformat(),
            "no_answer": self.no_answer and str(self.no_answer),
        }


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one of several transactions was refused; it changed nothing.

    Attributes
    ----------
    transaction_id
        Of the transaction; empty: it had none.
    field
        Name of the field at fault; empty: the message as a whole.
    code
        Stable code of the rule, for example `amount_negative`.
    message
        One line for people.
    """

    transaction_id: str
    field: str
    code: str
    message: str

    @classmethod
    def of(cls, error: RefusedError, transaction_id: str) -> Refusal:
        """Return the refusal that an exception tells."""
        return cls(transaction_id, error.field, error.code, str(error))

    def error(self) -> RefusedError:
        """Return the refusal as an exception."""
        return RefusedError(self.message, field=self.field, code=self.code)

    def as_dict(self) -> dict[str, Any]:
        """Return the refusal as JSON has it."""
        refused = {"field": self.field, "code": self.code, "message": self.message}
        return {"transaction_id": self.transaction_id, "refused": refused}


def decision_of(message: DecisionMessage) -> Decision:
    """Return the decision that a message holds."""
    degraded = tuple(_DEGRADED.get(each, f"reason_{each}") for each in message.degraded_reasons)
    return Decision(
        transaction_id=message.transaction_id,
        action=_ACTIONS.get(message.action, Action.REVIEW),
        score=None if math.isnan(message.score) else message.score,
        reasons=tuple(
            Reason(each.feature, each.value if each.HasField("value") else None, each.contribution)
            for each in message.reasons
        ),
        degraded=degraded or (("unspecified",) if message.degraded else ()),
        repeated=message.repeated_id,
        model=f"{message.model:016x}" if message.model else None,
        event_time=_moment(message.event_time_micros),
        decided_time=_moment(message.decided_time_micros),
    )


def outcome_of(result: ScoreResult, transaction: Transaction) -> Decision | Refusal:
    """Return the decision or the refusal that one result of several holds."""
    if result.WhichOneof("outcome") == "refusal":
        told = result.refusal
        field = schema_name(told.field)
        return Refusal(transaction.transaction_id, field, told.code, told.message)
    return decision_of(result.decision)


def schema_name(field: str) -> str:
    """Return the name of a field in `fraudengine.schema`, which leaves out the unit of times."""
    return field.removesuffix("_micros")


def _moment(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)
