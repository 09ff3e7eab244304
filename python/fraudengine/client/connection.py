"""The connection to the service: credentials, retries by the service config, and what its failures mean.

Only UNAVAILABLE is tried again, by gRPC itself and inside the deadline. That is safe: the service answers an
id that it has decided with its first answer.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from fraudengine.client.no_answer import NoAnswer, OnNoAnswer
from fraudengine.client.results import schema_name
from fraudengine.errors import AccessDeniedError, ConfigError, NoAnswerError, RefusedError, ScoringError

if TYPE_CHECKING:
    from google.protobuf.message import Message

__all__ = ["SCORE", "SCORE_BATCH", "Connection", "Tls", "failure"]

_SERVICE = "fraudengine.v1.ScoringService"
SCORE = f"/{_SERVICE}/Score"
SCORE_BATCH = f"/{_SERVICE}/ScoreBatch"
_DETAILS = "grpc-status-details-bin"
_MESSAGE_BYTES_MAX = 64 << 20
_RETRIES_MAX = 4
_WRONG_CALLS = {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.OUT_OF_RANGE}
_DENIALS = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}


@dataclass(frozen=True, kw_only=True)
class Tls:
    """Encrypt the connection.

    Attributes
    ----------
    ca
        Certificates of who may sign the service's (PEM file); None: those that gRPC brings.
    certificate, key
        The client's own certificate chain and key (PEM files), for mutual TLS; both or neither.
    name
        Name in the service's certificate where it is not that of the address.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    name: str | None = None

    def files(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Return the contents of `ca`, `certificate` and `key`.

        Raises
        ------
        ConfigError
            A file cannot be read, or only one of certificate and key is given.
        """
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("a client's certificate and key must be given together")
        return _read(self.ca), _read(self.certificate), _read(self.key)

    def credentials(self) -> grpc.ChannelCredentials:
        """Return the credentials; errors are those of `files`."""
        ca, certificate, key = self.files()
        return grpc.ssl_channel_credentials(ca, key, certificate)


@dataclass(frozen=True, kw_only=True)
class Connection:
    """Where the service is and how it is called; checked when it is made.

    Attributes
    ----------
    address
        `HOST:PORT`, or another target that gRPC knows.
    token
        Bearer token; None: none is sent.
    tls
        None: plain text.
    plaintext_anywhere
        Allow a token in plain text to an address that is not a loopback one.
    timeout_seconds
        Deadline of one call, above 0.
    batch_timeout_seconds
        Deadline of one batch, above 0.
    retries
        How often a call is tried again when the service is unavailable, 0 to 4.
    on_no_answer
        What to do with a transaction that was not decided.

    Raises
    ------
    ConfigError
        A value is out of its range, or a token would travel in plain text.
    """

    address: str
    token: str | None = field(default=None, repr=False)
    tls: Tls | None = None
    plaintext_anywhere: bool = False
    timeout_seconds: float = 0.5
    batch_timeout_seconds: float = 10.0
    retries: int = 3
    on_no_answer: OnNoAnswer = NoAnswer.RAISE

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("timeout_seconds", "batch_timeout_seconds"):
            value = getattr(self, name)
            if not 0 < value <= 3_600:
                raise ConfigError(f"{name} is {value}, must be above 0 and at most 3600")
        if not 0 <= self.retries <= _RETRIES_MAX:
            raise ConfigError(f"retries is {self.retries}, must be 0 to {_RETRIES_MAX}")
        if not (isinstance(self.on_no_answer, NoAnswer) or callable(self.on_no_answer)):
            raise ConfigError(f"on_no_answer is {self.on_no_answer!r}, must be a NoAnswer or a function")
        if self.token and not self.tls and not self.plaintext_anywhere and not _is_loopback(self.address):
            message = f"the token would go to {self.address} in plain text: give tls, or plaintext_anywhere"
            raise ConfigError(message)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the metadata of every call."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    def options(self) -> list[tuple[str, Any]]:
        """Return the options of the channel."""
        config: dict[str, Any] = {}
        if self.retries:
            names = [{"service": _SERVICE, "method": name} for name in ("Score", "ScoreBatch")]
            policy = {
                "maxAttempts": self.retries + 1,
                "initialBackoff": "0.02s",
                "maxBackoff": "0.5s",
                "backoffMultiplier": 3,
                "retryableStatusCodes": ["UNAVAILABLE"],
            }
            config["methodConfig"] = [{"name": names, "retryPolicy": policy}]
        options: list[tuple[str, Any]] = [
            ("grpc.service_config", json.dumps(config)),
            ("grpc.enable_retries", 1),
            # A batch is kept for its retries; the default of 256 KiB is less than one.
            ("grpc.per_rpc_retry_buffer_size", _MESSAGE_BYTES_MAX),
            ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
            # A service that starts again is found soon, not after a second or more.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1_000),
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 10_000),
        ]
        if self.tls and self.tls.name:
            options.append(("grpc.ssl_target_name_override", self.tls.name))
        return options


def failure(error: grpc.RpcError) -> ScoringError | RefusedError:
    """Return what the failure of a call means, with the details that came with it."""
    code: grpc.StatusCode = error.code()
    message = f"{code.name}: {error.details() or 'no further details'}"
    found = dict(_details(error.trailing_metadata() or ()))
    info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
    for detail in (info, bad, retry):
        packed: bytes = found.get(_name(detail), b"")
        detail.ParseFromString(packed)
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        named = bad.field_violations[0].field if bad.field_violations else ""
        text = str(error.details())
        return RefusedError(text, field=schema_name(named), code=info.reason.lower() or "invalid_argument")
    delay = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    kind: type[ScoringError] = NoAnswerError
    if code in _DENIALS:
        kind = AccessDeniedError
    elif code in _WRONG_CALLS:
        kind = ScoringError
    told = delay if _name(retry) in found else None
    return kind(message, status=code.name, reason=info.reason, retry_seconds=told)


def _details(metadata: Iterable[tuple[str, str | bytes]]) -> Iterable[tuple[str, bytes]]:
    for key, value in metadata:
        if key == _DETAILS and isinstance(value, bytes):
            for each in Status.FromString(value).details:
                yield each.type_url.rsplit("/", 1)[-1], each.value


def _name(message: Message) -> str:
    name: str = message.DESCRIPTOR.full_name
    return name


def _is_loopback(address: str) -> bool:
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    host = address.rpartition(":")[0].rpartition("/")[2].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
