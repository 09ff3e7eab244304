"""The native engine. This stub is the contract; stubtest holds it against the binary.

Use `fraudengine.engine`, `fraudengine.features` and their neighbours: they carry the documentation.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt
import polars as pl

from fraudengine.activation import Activation

__all__ = [
    "Callers",
    "Engine",
    "Ensemble",
    "GrpcServer",
    "Keyed",
    "Load",
    "Predictor",
    "Scoring",
    "Sinks",
    "Stream",
    "StreamScoring",
    "SyntheticStream",
    "__version__",
    "catalogue_features",
    "catalogue_hash",
    "init_logging",
    "is_card_number",
    "is_request_id",
    "send_load",
]

__version__: str

def catalogue_features() -> list[tuple[str, str, str, str, str, str]]:
    """Return name, entity, group, window, unit and meaning of each feature, in column order."""

def catalogue_hash() -> str:
    """Return the hash of everything that gives feature values their meaning."""

def init_logging(level: str, json: bool) -> None:
    """Send the log of the native threads to standard error; a second call changes nothing."""

def is_card_number(text: str) -> bool:
    """Return whether a text is 13 to 19 digits (spaces, hyphens aside), like a card's, that pass Luhn."""

def is_request_id(text: str) -> bool:
    """Return whether a text may go on as the id of a call: short, plain, no card number."""

def send_load(
    address: str,
    *,
    tls: tuple[bytes | None, tuple[bytes, bytes] | None, str | None] | None,
    authorization: str | None,
    timeout_seconds: float,
    calls: int,
    concurrency: int,
    rate: float | None,
    batch: int,
    threads: int,
    warmup_calls: int,
    pool: list[bytes],
    prefix: str,
) -> tuple[Any, ...]:
    """Send calls to a scoring service, as `Plan` says; `pool` has transactions without id and time.

    Returns the fields of `fraudengine.loadtest.summary.Sent`. Raises `ConfigError` where something given
    cannot be used, `ServiceError` where nobody answers.
    """

@final
class Callers:
    """Who may call: SHA-256 of each client's token, its calls in a second over all transports."""

    def __new__(cls, clients: list[tuple[bytes, float]]) -> Callers: ...
    def admit(self, authorization: str) -> float | None:
        """Take a call from the bucket of who has the token; 0, or seconds to wait; `None`: nobody has."""

@final
class Engine:
    """The fold over transactions and labels; see `fraudengine.engine.Engine`."""

    def __new__(
        cls,
        *,
        lateness_micros: int = 3_600_000_000,
        entities_max: int = 8_388_608,
        memory_max_bytes: int = 8_589_934_592,
        reference_currency: str = "EUR",
        rates: dict[str, int] | None = None,
        threads: int = 1,
    ) -> Engine: ...
    @staticmethod
    def restore(
        snapshot: bytes,
        *,
        memory_max_bytes: int | None = None,
        reference_currency: str = "EUR",
        rates: dict[str, int] | None = None,
        threads: int = 1,
    ) -> Engine: ...
    def snapshot(self) -> bytes: ...
    def activate(self, model: Activation) -> str: ...
    def process(
        self, transactions: pl.DataFrame, labels: pl.DataFrame | None = None, *, features: bool = False
    ) -> dict[str, Any]: ...
    def customer_windows(self, customer_id: str) -> dict[str, float] | None: ...
    def stats(self) -> dict[str, Any]: ...

@final
class Ensemble:
    """An isolation forest and a booster, read from `ensemble.bin` (see `fraudengine.training.export`).

    Safe to use from several threads; scoring releases the GIL.

    Parameters
    ----------
    data
        Bytes of the file. They may be hostile; every byte is checked.

    Raises
    ------
    ModelError
        If the bytes are no valid ensemble.
    """

    def __new__(cls, data: bytes) -> Ensemble: ...
    @property
    def feature_count(self) -> int:
        """Number of base features: the width of a row."""

    @property
    def attribution_width(self) -> int:
        """Width of `attributions`: base features, the anomaly if the booster reads it, the bias."""

    @property
    def uses_anomaly(self) -> bool:
        """Whether the booster reads the anomaly as its last column."""

    def backends(self) -> list[str]:
        """Names of the backends that can run here, fastest of the bit-identical ones first."""

    def score(
        self, rows: npt.NDArray[np.float32], backend: str = "auto", threads: int = 1
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Anomaly and margin of each row.

        Parameters
        ----------
        rows
            Float32, shape (n, feature_count), C-contiguous; NaN is missing.
        backend
            `auto` (the fastest), `avx512`, `avx2`, `portable`, `reference` (these agree bit for bit), or
            `compiled` after `load_compiled`.
        threads
            1 to 64. The result does not depend on it.

        Returns
        -------
        anomaly
            Float32, shape (n,), in (0, 1), higher is more anomalous; NaN without a forest.
        margin
            Float32, shape (n,), log odds of fraud; NaN without a booster.

        Raises
        ------
        ModelError
            If the shape does not fit, or the backend is unknown or not available.
        ConfigError
            If `threads` is out of range.
        """

    def attributions(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Saabas contributions to the margin, in log odds, shape (n, attribution_width).

        Columns: base features in their order, then the anomaly if the booster reads it, then the bias.
        Each row adds up to its margin, but for rounding. Zeros without a booster.

        Raises
        ------
        ModelError
            If the shape does not fit.
        """

    def load_compiled(self, booster: str | Path | None = None, forest: str | Path | None = None) -> None:
        """Open libraries made by `fraudengine.training.compile` as the backend `compiled`.

        Opening a library runs its code: only open those of a trusted bundle.

        Raises
        ------
        CompileError
            If a library is missing, cannot be opened, or was made for another model.
        """

_Accepted = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int32], list[bytes]]

@final
class GrpcServer:
    """The native transport of the scoring service; `settings`: `serving.native_transport.native_json`."""

    def __new__(
        cls, scoring: Scoring | StreamScoring, settings: str, callers: Callers | None = None
    ) -> GrpcServer: ...
    @property
    def address(self) -> str:
        """Where it listens, `HOST:PORT`."""

    def say_ready(self, ready: bool) -> None:
        """Tell health whether calls are answered; until the first time it says that they are not."""

    def stop(self, seconds: float) -> None:
        """Take no more calls, let those under way end for so long, then cancel them."""

    def figures(self) -> dict[str, Any]:
        """Return what it counts; `calls` has, by method, the observations up to each bound, and their sum."""

@final
class Keyed:
    """The fold one kind of entity at a time, with its state in `cells` cells that the caller keeps.

    Rows and labels are bytes that `read` made; kinds as in `EntityKind`. `fetch` returns the states of cells.
    """

    def __new__(cls, settings: str, *, cells: int) -> Self: ...
    def activate(self, model: Activation) -> str:
        """Decide with this ensemble; return the name of the backend."""

    def read(
        self,
        values: Sequence[bytes],
        partitions: npt.NDArray[np.int64],
        offsets: npt.NDArray[np.int64],
        times_ms: npt.NDArray[np.int64],
        labels: bool,
    ) -> tuple[_Accepted, list[tuple[int, bytes]]]:
        """Check records: places, times, five cells (-1: none) and rows of the accepted; dead letters."""

    def step(
        self,
        kind: int,
        rows: Sequence[bytes],
        flags: Sequence[int] | None,
        labels: Sequence[bytes],
        waiting: bytes | None,
        before: int,
        after: int,
        fetch: Callable[[list[int]], Sequence[bytes | None]],
    ) -> dict[str, Any]:
        """Let a kind take in rows; `before`, `after` are the newest event times around the whole batch."""

    def settle(
        self,
        rows: Sequence[bytes],
        features: npt.NDArray[np.float32],
        flags: Sequence[int],
        partitions: npt.NDArray[np.int64],
        offsets: npt.NDArray[np.int64],
        times_micros: npt.NDArray[np.int64],
        fetch: Callable[[list[int]], Sequence[bytes | None]],
    ) -> dict[str, Any]:
        """Decide whole rows: `score`, `margin`, `anomaly`, `action`, `keys` and `records` of `decisions`."""

@final
class Load:
    """A synthetic history being sent to Kafka; see `fraudengine.datasets.load.start_load`.

    Safe to use from several threads. When it is collected, it stops and waits for its flush.

    Raises
    ------
    ConfigError
        A setting is out of range, or the client does not know a property.
    ServiceError
        No broker answers, or a topic is not available.
    """

    def __new__(
        cls,
        history: Mapping[str, float],
        *,
        brokers: str,
        client: Mapping[str, str],
        transactions_topic: str,
        labels_topic: str,
        genuine_labels: bool,
        payload_format: str,
        schema_id: int | None,
        tps: float,
        skip_days: int,
        warm_days: int,
        hold: bool,
        count: int,
        seconds: float,
        malformed: float,
    ) -> Load: ...
    def report(self) -> dict[str, Any]:
        """Return where it stands: the fields of `fraudengine.datasets.load.LoadReport`."""

    def release(self) -> None:
        """Let it go on after the warm-up."""

    def stop(self) -> None:
        """Ask it to send no more and to flush."""

    def wait(self, timeout_seconds: float) -> bool:
        """Wait until all is sent and flushed, or the time is over; return whether it is."""

@final
class Predictor:
    """A model that scores feature vectors; it keeps no state. See `fraudengine.bundle.Bundle.predictor`.

    Safe to use from several threads; predicting releases the GIL.

    Raises
    ------
    ModelError
        If the ensemble is malformed or the backend cannot run it.
    ConfigError
        If calibration or thresholds make no sense.
    """

    def __new__(cls, model: Activation) -> Predictor: ...
    def predict(
        self, rows: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """Score, action and anomaly of each row: what the engine decides of the same features, bit for bit.

        Parameters
        ----------
        rows
            Float32, shape (n, features of the catalogue), C-contiguous; NaN is missing.

        Returns
        -------
        score
            Float32, shape (n,), calibrated probability of fraud, 0 to 1.
        action
            UInt8, shape (n,): 0 approve, 1 review, 2 block.
        anomaly
            Float32, shape (n,), in (0, 1), higher is more anomalous; NaN without a forest.

        Raises
        ------
        ModelError
            If the shape does not fit.
        """

@final
class Scoring:
    """Decides requests of the scoring service as bytes; see `fraudengine.serving`.

    Safe to use from several threads; deciding releases the GIL.

    Parameters
    ----------
    engine
        The state and the model.
    bundle_hash
        Of the model; every decision carries its first 8 bytes.
    answers_kept
        Newest answers kept, so that a repeated id gets its first answer again.
    ahead_micros_max
        How far ahead of the clock an event time may be.
    warm_transactions
        A state that has seen fewer is cold, and the decisions say so.
    """

    def __new__(
        cls,
        engine: Engine,
        *,
        bundle_hash: str,
        answers_kept: int,
        ahead_micros_max: int,
        warm_transactions: int = 0,
    ) -> Scoring: ...
    def activate(self, model: Activation) -> None:
        """Decide with another ensemble from the next call on; see `fraudengine.engine.Engine.activate`."""

    def score(self, requests: list[bytes]) -> list[bytes | tuple[str, str, str]]:
        """Decide `ScoreRequest` messages: each a `ScoreResponse`, or field, code and message of a refusal."""

    @staticmethod
    def rows(request: bytes, rows_max: int) -> int:
        """Count the transactions of a `ScoreBatchRequest`, to `rows_max + 1`; 0 where that cannot be said."""

    def score_batch(self, request: bytes, rows_max: int) -> bytes | tuple[str, str, str]:
        """Decide a `ScoreBatchRequest`: a `ScoreBatchResponse`, or why the whole of it is refused."""

@final
class Sinks:
    """The writers to PostgreSQL and Redis, behind decisions that somebody else takes."""

    def __new__(cls, settings: str) -> Self: ...
    def status(self) -> list[dict[str, Any]]:
        """Return state, position, lag, rows written, records lost and last error of each writer."""

    def stop(self) -> None:
        """End the writers; return when they have ended."""

@final
class Stream:
    """The native stream; see `fraudengine.streaming.StreamProcess`."""

    def __new__(cls, settings: str, instance: str) -> Stream: ...
    def admit(self, last_words: str | None = None) -> None: ...
    def start(self) -> None: ...
    def activate(self, model: Activation) -> str: ...
    def phase(self) -> tuple[str, str | None]: ...
    def wait(self, seconds: float) -> bool: ...
    def metrics(self) -> str: ...
    def status(self) -> dict[str, Any]: ...
    def ask_snapshot(self) -> int: ...
    def snapshots_answered(self) -> int: ...
    def stop(self, *, hand_over: bool = False) -> None: ...
    def close(self) -> None: ...

@final
class StreamScoring:
    """Requests of the scoring service that the stream decides; see `fraudengine.serving.through_stream`.

    Safe to use from several threads; every call that waits or decides releases the GIL.

    Parameters
    ----------
    settings
        `Settings.native_json`.
    serve
        `Settings.serve_json`.
    """

    def __new__(cls, settings: str, serve: str) -> StreamScoring: ...
    def activate(self, model: Activation) -> str:
        """Answer with this ensemble where the stream does not answer in time; return the backend's name."""

    def ask(self, requests: list[tuple[bytes, float]]) -> list[bytes | tuple[str, str, str] | int]:
        """Take `ScoreRequest` messages in, each with the seconds left (negative: no deadline).

        Each gets a `ScoreResponse`, or field, code and message of a refusal, or the ticket under which
        `take` returns its `ScoreResponse`.
        """

    def ticket(self) -> int:
        """Return a ticket that nobody else has."""

    def ask_batch(
        self, ticket: int, request: bytes, rows_max: int, seconds: float
    ) -> tuple[str, str, str] | None:
        """Take a `ScoreBatchRequest` in; the response comes with the ticket, unless this tells a refusal."""

    def take(self, seconds: float) -> list[tuple[int, bytes]]:
        """Wait for responses, at most so long; return those that are there, by ticket."""

    def customer_windows(self, customer_id: str) -> dict[str, float] | None:
        """Return what `Engine.customer_windows` says of the replica; `None` also: there is no state yet."""

    def is_ready(self) -> bool:
        """Return whether the replica of the state is as new as the log of decisions."""

    def status(self) -> dict[str, Any]:
        """Return what it is doing, with counters."""

    def close(self, seconds: float) -> int:
        """Wait so long until the broker has everything, and end; return how many records it does not have."""

@final
class SyntheticStream:
    """A synthetic history, one Arrow record batch for each day of arrival."""

    def __new__(
        cls,
        *,
        seed: int,
        customers: int,
        merchants: int,
        days: int,
        start_micros: int,
        daily_mean: float,
        fraud_rate: float,
        label_delay_hours: float,
        label_noise: float,
        duplicate_rate: float,
        late_rate: float,
        late_seconds_max: float,
        jitter_seconds: float,
        drift: float,
        threads: int,
    ) -> SyntheticStream: ...
    def next_day(self) -> pl.DataFrame | None:
        """Return the records that arrive on the next day (an Arrow record batch), `None` at the end."""
