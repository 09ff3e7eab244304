"""What the alert service counts, declared once; served as a page for Prometheus."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client import Metric

    from fraudengine.alerts.desk import Figures

__all__ = ["Metrics"]

_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The counters of one service, in a registry of their own.

    Parameters
    ----------
    targets, routes
        Their names: each is shown from the start.

    """

    def __init__(self, targets: Iterable[str], routes: Iterable[str]) -> None:
        self.registry = registry = CollectorRegistry()
        self.lag = Gauge("fraudengine_alerts_lag_records", "Records not read yet.", registry=registry)
        self.ignored = Counter(
            "fraudengine_alerts_ignored",
            "Records that are no alert, by reason.",
            ["reason"],
            registry=registry,
        )
        self.taken = Counter("fraudengine_alerts_taken", "Alerts taken in.", registry=registry)
        self.routed = Counter(
            "fraudengine_alerts_routed", "Alerts that took a route, by route.", ["route"], registry=registry
        )
        self.unrouted = Counter(
            "fraudengine_alerts_unrouted", "Alerts that took no route.", registry=registry
        )
        self.overflowed = Counter(
            "fraudengine_alerts_overflowed",
            "Alerts that share a message because there are too many groups, once a target.",
            registry=registry,
        )
        self.missed = Counter(
            "fraudengine_alerts_missed", "Records that had expired before they were read.", registry=registry
        )
        self.sent = Counter(
            "fraudengine_alert_messages_sent", "Messages taken, by target.", ["target"], registry=registry
        )
        self.failures = Counter(
            "fraudengine_alert_attempts_failed",
            "Attempts that failed, by target and kind (trouble: tried again; refused: not).",
            ["target", "kind"],
            registry=registry,
        )
        self.discarded = Counter(
            "fraudengine_alert_messages_discarded",
            "Refused messages that made room for newer ones.",
            registry=registry,
        )
        self.seconds = Histogram(
            "fraudengine_alert_send_seconds",
            "Duration of an attempt, by target.",
            ["target"],
            buckets=_SECONDS,
            registry=registry,
        )
        for route in routes:
            self.routed.labels(route)
        for target in targets:
            self.sent.labels(target)
            for kind in ("trouble", "refused"):
                self.failures.labels(target, kind)

    def show_outbox(self, figures: Callable[[], Figures], targets: Iterable[str]) -> None:
        """Show what is in the outbox, as often as the page is asked for."""
        self.registry.register(_OutboxFigures(figures, list(targets)))


class _OutboxFigures:
    def __init__(self, figures: Callable[[], Figures], targets: list[str]) -> None:
        self._figures = figures
        self._targets = targets

    def collect(self) -> Iterator[Metric]:
        figures, now_ms = self._figures(), time.time() * 1e3
        yield GaugeMetricFamily("fraudengine_alert_groups", "Groups of alerts.", figures.groups)
        yield GaugeMetricFamily("fraudengine_alert_snoozes", "Snoozes in force.", figures.snoozes)
        by_target = (
            ("messages_waiting", "Messages not sent yet, by target.", figures.waiting),
            ("messages_failed", "Messages refused for good, by target.", figures.failed),
            (
                "oldest_waiting_seconds",
                "Age of the oldest message not sent yet, by target.",
                {target: (now_ms - made) / 1e3 for target, made in figures.oldest_ms.items()},
            ),
        )
        for name, told, values in by_target:
            family = GaugeMetricFamily(f"fraudengine_alert_{name}", told, labels=["target"])
            for target in sorted({*self._targets, *values}):
                family.add_metric([target], values.get(target, 0))
            yield family
