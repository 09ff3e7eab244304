"""Whether a part of the system is healthy: a page over HTTP by its status, gRPC by its health protocol."""

from __future__ import annotations

import urllib.error
import urllib.request
from urllib.parse import urlsplit

from fraudengine.errors import ConfigError, ServiceError
from fraudengine.services.processes import wait_until

__all__ = ["unhealthy", "wait_healthy"]


def unhealthy(address: str, timeout_seconds: float) -> str:
    """Return what is wrong with an address; empty when it is healthy.

    Parameters
    ----------
    address
        `http://` or `https://` with a page, which must answer 2xx, or `grpc://HOST:PORT`, which must say
        SERVING for the server as a whole.
    timeout_seconds
        Longest that the answer may take.

    Raises
    ------
    ConfigError
        It is no such address.

    """
    parts = urlsplit(address)
    if parts.scheme in ("http", "https") and parts.netloc:
        return _unhealthy_page(address, timeout_seconds)
    if parts.scheme == "grpc" and parts.netloc:
        return _unhealthy_server(parts.netloc, timeout_seconds)
    raise ConfigError(
        f"{address!r} must be http://HOST:PORT/PAGE, https://HOST:PORT/PAGE or grpc://HOST:PORT"
    )


def wait_healthy(address: str, *, wait_seconds: float = 0.0, timeout_seconds: float = 3.0) -> str:
    """Wait until an address is healthy; return that it is, in a line.

    Raises
    ------
    ConfigError
        As `unhealthy`.
    ServiceError
        It was not in time; the message says what was wrong last.

    """
    wrong = ""

    def healthy() -> bool:
        nonlocal wrong
        wrong = unhealthy(address, timeout_seconds)
        return not wrong

    if not wait_until(healthy, wait_seconds):
        raise ServiceError(f"{address} is not healthy: {wrong}")
    return f"{address} is healthy"


def _unhealthy_page(address: str, timeout_seconds: float) -> str:
    try:
        with urllib.request.urlopen(address, timeout=timeout_seconds):
            return ""
    except urllib.error.HTTPError as error:
        with error:
            return f"HTTP {error.code}: {error.read(200).decode(errors='replace').strip()}"
    except OSError as error:
        return str(getattr(error, "reason", error))


def _unhealthy_server(target: str, timeout_seconds: float) -> str:
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(target) as channel:
        try:
            told = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=timeout_seconds
            )
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(told.status)
    return "" if status == "SERVING" else status
