"""The alert service as a whole: intake, outbox, senders, and the door for operators."""

from __future__ import annotations

import os
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Self

from prometheus_client import generate_latest

from fraudengine.alerts import desk
from fraudengine.alerts.intake import Intake
from fraudengine.alerts.metrics import Metrics
from fraudengine.alerts.outbox import Outbox
from fraudengine.alerts.routing import Router
from fraudengine.alerts.sending import Senders
from fraudengine.alerts.targets import targets_of
from fraudengine.door import METRICS_TYPE, Door, Visitor
from fraudengine.errors import ConfigError
from fraudengine.locks import lock_folder
from fraudengine.log_lines import LineLogger

if TYPE_CHECKING:
    from fraudengine.config import Settings

__all__ = ["AlertService"]


class AlertService:
    """A running service; a context manager that stops it in order.

    Parameters
    ----------
    settings
        Effective settings; an empty address of Kafka is that of the running embedded broker.

    Raises
    ------
    ConfigError
        A setting cannot be used, there is no target, or another process uses the state folder.
    AlertError
        The outbox cannot be used.
    ServiceError
        There is no address of Kafka.

    """

    def __init__(self, settings: Settings) -> None:
        alerts = settings.alerts
        targets = targets_of(alerts)
        if not targets:
            raise ConfigError("alerts.targets is empty: nobody would be told (try --inbox FOLDER)")
        resolved = settings.resolved(only=["kafka"])
        router = Router(alerts)
        self._lock = lock_folder(alerts.state_folder.absolute(), "alerts.state_folder")
        self._outbox = Outbox(alerts)
        self._log = LineLogger("alerts", settings.log)
        self.metrics = Metrics(targets, router.routes)
        self.metrics.show_outbox(self._figures, targets)
        self._senders = Senders(alerts, targets, self._outbox, self.metrics, self._log)
        self._intake = Intake(resolved, self._outbox, router, self.metrics, self._log, self._senders.wake)
        self._warn_of_strangers(set(targets))
        self._door = Door(type("Handler", (_Handler,), {"service": self}), settings.http)
        self._senders.start()
        self._intake.start()

    @property
    def address(self) -> str:
        """Where operators reach it, `http://HOST:PORT`."""
        return self._door.address

    @property
    def error(self) -> str | None:
        """Why it can do no more; `None`: it goes on."""
        return self._intake.error or self._senders.error

    @property
    def ready(self) -> bool:
        """Whether the topic is read."""
        return self._intake.reading and self.error is None

    def status(self) -> dict[str, Any]:
        """Return where it stands."""
        figures = self._figures()
        return {
            "ready": self.ready,
            "error": self.error,
            "next_offset": self._intake.next_offset,
            "groups": figures.groups,
            "snoozes": figures.snoozes,
            "waiting": figures.waiting,
            "failed": figures.failed,
        }

    def close(self) -> None:
        """Read no more, settle what is on its way, and release the state folder."""
        self._door.close()
        self._intake.stop()
        self._senders.stop()
        self._outbox.close()
        self._log.close()
        os.close(self._lock)

    def _figures(self) -> desk.Figures:
        return desk.figures(self._outbox, int(time.time() * 1e3))

    def _warn_of_strangers(self, targets: set[str]) -> None:
        for target in sorted({*self._figures().waiting} - targets):
            told = {"message": "messages wait for a target that is not in the settings", "target": target}
            self._log.told("warn", told)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close."""
        self.close()


class _Handler(Visitor):
    """Answers one request."""

    service: ClassVar[AlertService]

    def do_GET(self) -> None:
        if self.path == "/metrics":
            page = generate_latest(self.service.metrics.registry).decode()
            self.answer(HTTPStatus.OK, page, METRICS_TYPE)
        elif self.path == "/healthz":
            self.healthy(self.service.error is None, {"alive": self.service.error is None})
        elif self.path == "/readyz":
            self.healthy(self.service.ready, {"ready": self.service.ready})
        elif self.path == "/status":
            self.told(HTTPStatus.OK, self.service.status())
        else:
            self.lost()
