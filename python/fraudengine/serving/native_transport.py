"""The native transport: a port that answers `ScoringService` and health without the interpreter.

It has no other service, and no reflection: who needs those calls the port of grpcio, which decides by the
same state and the same model.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from fraudengine.serving.ports import tls_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

    from fraudengine.settings import ServeSettings

__all__ = ["NativeFigures", "native_json"]

_SAME = ("host", "calls_max", "rows_max", "message_bytes_max", "log_scores", "slow_ms")


def native_json(serve: ServeSettings) -> str:
    """Return what the native transport is given of `[serve]`.

    Raises
    ------
    ConfigError
        A file of TLS cannot be read, or the address is not for plain text.
    """
    told: dict[str, Any] = {name: getattr(serve, name) for name in _SAME}
    files = tls_files(serve)
    if files is not None:
        ca = None if files.client_ca is None else files.client_ca.decode()
        told["tls"] = {
            "certificate": files.certificate.decode(),
            "key": files.key.decode(),
            "client_ca": ca,
        }
    return json.dumps({"tls": None, **told, "port": serve.native_port, "threads": serve.native_threads})


class NativeFigures:
    """A collector for Prometheus.

    Parameters
    ----------
    figures
        `_native.GrpcServer.figures`.

    """

    def __init__(self, figures: Callable[[], dict[str, Any]]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Yield the figures of now."""
        figures = self._figures()
        name = "fraudengine_grpc_native"
        calls = HistogramMetricFamily(
            f"{name}_call_seconds", "From a request to its answer, by method.", labels=["method"]
        )
        for method, (buckets, seconds) in figures["calls"].items():
            calls.add_metric([method], [(_le(bound), n) for bound, n in buckets], seconds)
        yield calls
        yield GaugeMetricFamily(f"{name}_calls_open", "Calls under way.", value=figures["open"])
        yield CounterMetricFamily(
            "fraudengine_log_lines_dropped",
            "Lines of the native log that nobody took in time.",
            value=figures["log_lines_dropped"],
        )
        refused = CounterMetricFamily(f"{name}_refused", "Transactions refused, by rule.", labels=["rule"])
        denied = CounterMetricFamily(
            f"{name}_denied", "Calls denied before they were looked at.", labels=["reason"]
        )
        for family, counts in ((refused, figures["refused"]), (denied, figures["denied"])):
            for label, count in counts.items():
                family.add_metric([label], count)
            yield family


def _le(bound: float) -> str:
    """Return the upper bound of a bucket as Prometheus spells it."""
    return "+Inf" if math.isinf(bound) else str(bound)
