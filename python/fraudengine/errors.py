"""Every exception this package raises on purpose.

They are defined here, in Python, and imported by the native code, so that a caller can catch them
without knowing where the work was done. All derive from `FraudEngineError`; the command line turns
each into one clear line and a non-zero exit code.
"""

from __future__ import annotations

__all__ = [
    "AccessDeniedError",
    "AlertError",
    "BundleError",
    "CompileError",
    "ConfigError",
    "FraudEngineError",
    "InputError",
    "InvalidTransactionError",
    "ModelError",
    "NoAnswerError",
    "RefusedError",
    "SchemaError",
    "ScoringError",
    "ServiceError",
    "SnapshotError",
    "StoreError",
    "StoreTimeoutError",
    "StreamError",
    "StreamRefusedError",
    "TrainingError",
]


class FraudEngineError(Exception):
    """Base of every error raised on purpose by fraudengine."""


class InputError(FraudEngineError):
    """A file or stream of records cannot be read at all (missing, unreadable, wrong format)."""


class SchemaError(InputError):
    """A history lacks a required column, or a column has a type that cannot be converted."""


class InvalidTransactionError(InputError):
    """One record breaks a limit of the transaction schema; the message names row, field and value."""


class RefusedError(InvalidTransactionError):
    """The scoring service, or its client, refused a transaction: nothing of it was counted.

    Attributes
    ----------
    field
        Name of the field at fault, as in `fraudengine.schema`; empty: the message as a whole.
    code
        Stable code of the rule that was broken, for example `amount_negative`.
    """

    def __init__(self, message: str, *, field: str, code: str) -> None:
        super().__init__(message)
        self.field = field
        self.code = code


class ScoringError(FraudEngineError):
    """A call to the scoring service failed.

    Attributes
    ----------
    status
        Name of the gRPC status, for example `UNAVAILABLE`.
    reason
        Stable reason in capitals that the service gave, for example `RATE_EXCEEDED`; empty: none.
    retry_seconds
        When to come again, as the service said it; None: it did not.
    """

    def __init__(
        self, message: str, *, status: str, reason: str = "", retry_seconds: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.retry_seconds = retry_seconds


class NoAnswerError(ScoringError):
    """The scoring service gave no decision in time, or cannot be reached; a later call may succeed."""


class AccessDeniedError(ScoringError):
    """The scoring service does not know the caller: the token is missing or wrong."""


class AlertError(FraudEngineError):
    """The alert service ended because of something that somebody must mend."""


class ConfigError(FraudEngineError):
    """A setting is unknown, missing or outside its range."""


class ModelError(FraudEngineError):
    """A tree model cannot be parsed or does not keep to the limits of the scoring kernels."""


class BundleError(FraudEngineError):
    """A model bundle is incomplete, was changed, or was made for another feature catalogue."""


class CompileError(FraudEngineError):
    """The ensemble could not be compiled to native code for this machine."""


class ServiceError(FraudEngineError):
    """An embedded service (Kafka, PostgreSQL, Redis) is missing, cannot be started, or has ended."""


class SnapshotError(FraudEngineError):
    """A state snapshot is truncated, corrupt, or of another layout version."""


class StoreError(FraudEngineError):
    """PostgreSQL or Redis, which the stream writes to, cannot be read now; `store` says which."""

    def __init__(self, store: str, reason: str) -> None:
        super().__init__(f"{store}: {reason}")
        self.store = store


class StoreTimeoutError(StoreError):
    """PostgreSQL or Redis did not answer in the time that there was."""


class StreamError(FraudEngineError):
    """The stream ended because of something that somebody must mend, or none answers at its address."""


class StreamRefusedError(StreamError):
    """A running stream refuses what an operator asks of it."""


class TrainingError(FraudEngineError):
    """The training data cannot support a model (for example no labelled fraud in the training window)."""
