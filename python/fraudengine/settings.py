"""The sections of the configuration, typed: one class a section, one attribute a key.

Units, ranges and meanings are in `default.toml`, which also holds every default: a class without defaults
cannot disagree with the file that people read. Nothing here reads a file; `fraudengine.config` does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

__all__ = [
    "DashboardSettings",
    "DeadLetterSettings",
    "DrillSettings",
    "EmbeddedSettings",
    "EngineSettings",
    "HttpSettings",
    "KafkaSettings",
    "LogSettings",
    "OutputSettings",
    "PostgresSettings",
    "RedisSettings",
    "ServeSettings",
    "SparkSettings",
    "StateSettings",
]

Topic = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Rate = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=0, le=65_535)]


def _memory(value: int) -> int:
    if 0 < value < 134_217_728:
        message = "must be 0 (no bound) or at least 134,217,728"
        raise ValueError(message)
    return value


MemoryBytes = Annotated[int, Field(ge=0, le=2**50), AfterValidator(_memory)]
Payload = Literal["protobuf", "json"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class KafkaSettings(_Section):
    """`[kafka]`: where the topics are and what they are called."""

    brokers: str
    client: dict[str, str] = Field(repr=False)
    group: Annotated[str, Field(min_length=1, max_length=249)]
    transactions_topic: Topic
    labels_topic: Topic
    decisions_topic: Topic
    alerts_topic: Topic
    dead_letter_topic: Topic
    transactions_format: Payload
    labels_format: Payload
    partitions: Annotated[int, Field(ge=1, le=1_000)]
    start: Literal["earliest", "latest"]


class EngineSettings(_Section):
    """`[engine]`: how transactions are decided."""

    threads: Annotated[int, Field(ge=1, le=64)]
    batch_max: Annotated[int, Field(ge=1, le=1_024)]
    lateness_seconds: Annotated[float, Field(ge=0, le=604_800, allow_inf_nan=False)]
    ahead_seconds_max: Annotated[float, Field(ge=0, le=604_800, allow_inf_nan=False)]
    entities_max: Annotated[int, Field(ge=1_024, le=1_000_000_000)]
    memory_max_bytes: MemoryBytes
    reference_currency: Currency
    rates: dict[Currency, Rate]
    features: Literal["none", "flagged", "all"]


class OutputSettings(_Section):
    """`[output]`: how decisions are produced."""

    linger_ms: Annotated[float, Field(ge=0, le=1_000, allow_inf_nan=False)]
    compression: Literal["none", "lz4"]
    in_flight_max: Annotated[int, Field(ge=1_024, le=1_000_000)]


class DeadLetterSettings(_Section):
    """`[dead_letter]`: what is kept of a refused record."""

    raw: bool
    hash_key: SecretStr
    poison_max: Annotated[int, Field(ge=0, le=10_000)]


class DrillSettings(_Section):
    """`[drill]`: fault injection."""

    transaction_id: Annotated[str, Field(max_length=128)]
    fault: Literal["abort", "panic"]
    stage: Literal["decode", "label", "decide"]


class StateSettings(_Section):
    """`[state]`: the snapshots."""

    folder: Path
    snapshot_interval_seconds: Annotated[float, Field(ge=0.1, le=86_400, allow_inf_nan=False)]
    snapshots_kept: Annotated[int, Field(ge=1, le=100)]


class PostgresSettings(_Section):
    """`[postgres]`: the writer to the database."""

    enabled: bool
    url: str = Field(repr=False)
    retention_days: Annotated[int, Field(ge=0, le=36_500)]
    lookup_indexes: bool
    batch_rows: Annotated[int, Field(ge=1, le=100_000)]
    batch_wait_ms: Annotated[int, Field(ge=1, le=60_000)]


class RedisSettings(_Section):
    """`[redis]`: the writer of what is live."""

    enabled: bool
    url: str = Field(repr=False)
    feed_length: Annotated[int, Field(ge=1, le=1_000_000)]
    profile_ttl_seconds: Annotated[int, Field(ge=1, le=31_536_000)]
    profiles_per_second_max: Annotated[int, Field(ge=0, le=1_000_000)]
    flush_ms: Annotated[int, Field(ge=10, le=60_000)]


class HttpSettings(_Section):
    """`[http]`: the port for metrics and health."""

    host: Annotated[str, Field(min_length=1)]
    port: Port


class LogSettings(_Section):
    """`[log]`: what is logged, and how."""

    level: Literal["debug", "info", "warn", "error"]
    format: Literal["auto", "text", "json"]


class ServeSettings(_Section):
    """`[serve]`: the scoring service over gRPC."""

    mode: Literal["own", "stream"]
    host: Annotated[str, Field(min_length=1)]
    port: Port
    native_port: Annotated[int, Field(ge=-1, le=65_535)]
    native_threads: Annotated[int, Field(ge=1, le=64)]
    inference: bool
    calls_max: Annotated[int, Field(ge=1, le=100_000)]
    rows_max: Annotated[int, Field(ge=1, le=10_000_000)]
    backlog_max: Annotated[int, Field(ge=1, le=100_000)]
    message_bytes_max: Annotated[int, Field(ge=65_536, le=67_108_864)]
    answers_kept: Annotated[int, Field(ge=0, le=10_000_000)]
    state_folder: Path
    snapshot_interval_seconds: Annotated[float, Field(ge=0.1, le=86_400, allow_inf_nan=False)]
    warm_transactions: Annotated[int, Field(ge=0, le=10**12)]
    behind_ms_max: Annotated[float, Field(ge=1, le=60_000, allow_inf_nan=False)]
    deadline_margin_ms: Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)]
    in_flight_max: Annotated[int, Field(ge=1, le=10_000_000)]
    lag_records_max: Annotated[int, Field(ge=0, le=10**9)]
    no_answer_approve_below: Annotated[int, Field(ge=0, le=10**12)]
    no_answer_block_from: Annotated[int, Field(ge=0, le=10**12)]
    drain_seconds: Annotated[float, Field(ge=0, le=3_600, allow_inf_nan=False)]
    reflection: bool
    tls_certificate: Path
    tls_key: Path
    tls_client_ca: Path
    plaintext_anywhere: bool
    tokens: Path
    query_seconds_max: Annotated[float, Field(ge=0.1, le=60, allow_inf_nan=False)]
    admin_host: Annotated[str, Field(min_length=1)]
    admin_port: Annotated[int, Field(ge=-1, le=65_535)]
    admin_tokens: Path
    admin_client_ca: Path
    admin_stream: Annotated[str, Field(pattern=r"^(https?://[^/\s]+)?$")]
    watchers_max: Annotated[int, Field(ge=1, le=10_000)]
    watch_queue_max: Annotated[int, Field(ge=1, le=100_000)]
    log_scores: Literal["all", "problems", "none"]
    slow_ms: Annotated[float, Field(ge=0, le=3_600_000, allow_inf_nan=False)]


class DashboardSettings(_Section):
    """`[dashboard]`: what analysts look at, and who may."""

    host: Annotated[str, Field(min_length=1)]
    port: Port
    viewer_password: SecretStr
    analyst_password: SecretStr
    session_hours: Annotated[float, Field(ge=0.1, le=720, allow_inf_nan=False)]
    oidc_secrets: Path
    viewers: list[str]
    analysts: list[str]
    role_claim: str
    tls_certificate: Path
    tls_key: Path
    stream: Annotated[str, Field(pattern=r"^(https?://[^/\s]+)?$")]
    refresh_seconds: Annotated[float, Field(ge=0.5, le=60, allow_inf_nan=False)]
    bundle: Path
    matured_days: Annotated[int, Field(ge=0, le=365)]


class SparkSettings(_Section):
    """`[spark]`: the fold on Spark Structured Streaming."""

    master: Annotated[str, Field(min_length=1)]
    checkpoint: Annotated[str, Field(min_length=1)]
    jars: Path
    cells: Annotated[int, Field(ge=1, le=1_073_741_824)]
    buckets: Annotated[int, Field(ge=1, le=65_536)]
    partitions: Annotated[int, Field(ge=1, le=65_536)]
    batch_rows: Annotated[int, Field(ge=1, le=100_000_000)]
    trigger_seconds: Annotated[float, Field(ge=0, le=3_600, allow_inf_nan=False)]
    options: dict[str, str]


class EmbeddedSettings(_Section):
    """`[embedded]`: the services that `fraudengine up` runs."""

    folder: Path
    kafka_port: Port
    postgres_port: Port
    redis_port: Port
    kafka_heap_mb: Annotated[int, Field(ge=128, le=65_536)]
