"""What the service counts, declared once; served as a page for Prometheus."""

from __future__ import annotations

import functools
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from fraudengine.serving.stream_figures import StreamFigures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = ["Metrics"]

_SECONDS = (0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        latency = Histogram(
            "fraudengine_grpc_call_seconds",
            "From a request to its answer, by method.",
            ["method"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        # Every call has one to look up.
        self._of_method: Callable[[str], Histogram] = functools.cache(latency.labels)
        self._open = Gauge("fraudengine_grpc_calls_open", "Requests under way.", registry=self.registry)
        self.refused = Counter(
            "fraudengine_grpc_refused", "Transactions refused, by rule.", ["rule"], registry=self.registry
        )
        self.denied = Counter(
            "fraudengine_grpc_denied",
            "Calls denied before they were looked at.",
            ["reason"],
            registry=self.registry,
        )
        self.store_errors = Counter(
            "fraudengine_grpc_store_errors",
            "Calls that a store did not answer, by store.",
            ["store"],
            registry=self.registry,
        )
        self.labels = Counter(
            "fraudengine_grpc_labels", "Labels taken, by verdict.", ["verdict"], registry=self.registry
        )
        self._watchers = Gauge(
            "fraudengine_grpc_watchers",
            "Readers of live feeds, by method.",
            ["method"],
            registry=self.registry,
        )
        self.watchers_dropped = Counter(
            "fraudengine_grpc_watchers_dropped",
            "Readers of live feeds that were too slow, by method.",
            ["method"],
            registry=self.registry,
        )
        self.together = Histogram(
            "fraudengine_grpc_decided_together",
            "Requests decided in one call of the engine.",
            buckets=_ROWS,
            registry=self.registry,
        )

    def show_stream(self, status: Callable[[], dict[str, Any]]) -> None:
        """Show what a service in front of the stream does, as often as the page is asked for."""
        self.registry.register(StreamFigures(status))

    @contextmanager
    def watcher(self, method: str) -> Iterator[None]:
        """Count one reader of a live feed while it reads."""
        watchers = self._watchers.labels(method)
        watchers.inc()
        try:
            yield
        finally:
            watchers.dec()

    def call(self, method: str) -> Timed:
        """Measure one request."""
        return Timed(self._open, self._of_method(method))


class Timed:
    """One request while it is under way; a class, because a generator costs more and every call has one."""

    __slots__ = ("_calls", "_open", "_since")

    def __init__(self, under_way: Gauge, calls: Histogram) -> None:
        self._open = under_way
        self._calls = calls
        self._since = 0.0

    def __enter__(self) -> None:
        """Begin."""
        self._since = time.perf_counter()
        self._open.inc()

    def __exit__(self, *_: object) -> None:
        """End."""
        self._open.dec()
        self._calls.observe(time.perf_counter() - self._since)
