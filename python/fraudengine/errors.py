"""Every exception this package raises on purpose.

They are defined here, in Python, and imported by the native code, so that a caller can catch them
without knowing where the work was done. All derive from `FraudEngineError`; the command line turns
each into one clear line and a non-zero exit code.
"""

from __future__ import annotations

__all__ = [
    "BundleError",
    "CompileError",
    "ConfigError",
    "FraudEngineError",
    "InputError",
    "InvalidTransactionError",
    "ModelError",
    "SchemaError",
    "ServiceError",
    "SnapshotError",
    "StreamError",
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


class StreamError(FraudEngineError):
    """The stream ended because of something that somebody must mend, or none answers at its address."""


class TrainingError(FraudEngineError):
    """The training data cannot support a model (for example no labelled fraud in the training window)."""
