"""What a service in front of the stream counts, for its metrics: read from the native part when asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

__all__ = ["StreamFigures"]

_GAUGES = {
    "ready": "Whether the replica has caught up with the log of decisions: 1 or 0.",
    "lag": "Decisions that the replica is behind the log.",
    "in_flight": "Transactions sent to the stream and not decided yet.",
    "oldest_seconds": "How long the oldest of them has been under way.",
    "unacknowledged": "Transactions sent that the broker has not acknowledged.",
}
_COUNTERS = {
    "decided": "Answers that are the stream's own decisions.",
    "repeated": "Answers given again.",
}


class StreamFigures:
    """A collector for Prometheus.

    Parameters
    ----------
    status
        `_native.StreamScoring.status`.

    """

    def __init__(self, status: Callable[[], dict[str, Any]]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """Yield the figures of now."""
        status = self._status()
        for name, text in _GAUGES.items():
            yield GaugeMetricFamily(f"fraudengine_grpc_stream_{name}", text, value=float(status[name]))
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"fraudengine_grpc_stream_{name}", text, value=status[name])
        degraded = CounterMetricFamily(
            "fraudengine_grpc_stream_degraded",
            "Answers without the stream's decision, by reason.",
            labels=["reason"],
        )
        for reason, count in status["degraded"].items():
            degraded.add_metric([reason], count)
        yield degraded
