"""The stream's door for operators: metrics, health, status, and the exchange of the model, over HTTP."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

from fraudengine.door import METRICS_TYPE, Door, Visitor
from fraudengine.errors import FraudEngineError

if TYPE_CHECKING:
    from fraudengine.settings import HttpSettings
    from fraudengine.streaming.process import StreamProcess

__all__ = ["OperatorServer"]

_BODY_BYTES_MAX = 65_536
_BEHIND_MAX = 100_000
"""Decisions that a process that stands by may be behind and still be ready: a second of catching up."""


class OperatorServer(Door):
    """Serves until closed.

    Parameters
    ----------
    stream
        The stream to tell about.
    settings
        Address; port 0 picks a free one.

    Raises
    ------
    ConfigError
        The address cannot be used.

    """

    def __init__(self, stream: StreamProcess, settings: HttpSettings) -> None:
        super().__init__(type("Handler", (_Handler,), {"stream": stream}), settings)


class _Handler(Visitor):
    """Answers one request."""

    stream: ClassVar[StreamProcess]

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self.answer(HTTPStatus.OK, self.stream.metrics(), METRICS_TYPE)
        elif self.path == "/healthz":
            alive = self.stream.status()["phase"] != "failed"
            self.healthy(alive, {"alive": alive})
        elif self.path == "/readyz":
            told = self.stream.status()
            phase, behind = told["phase"], told["standby_behind"]
            if phase == "standing_by":
                # Ready to take over: whoever replaces processes one by one may end the one that decides.
                ready = behind is not None and behind <= _BEHIND_MAX
                self.healthy(ready, {"ready": ready, "phase": phase, "behind": behind})
            else:
                self.healthy(phase == "running", {"ready": phase == "running", "phase": phase})
        elif self.path == "/model":
            try:
                self.told(HTTPStatus.OK, self.stream.models())
            except FraudEngineError as error:
                self.told(HTTPStatus.UNPROCESSABLE_ENTITY, {"error": str(error)})
        elif self.path == "/status":
            self.told(HTTPStatus.OK, self.stream.status())
        else:
            self.lost()

    def do_POST(self) -> None:
        try:
            if self.path == "/snapshot":
                file = self.stream.snapshot()
                self.told(HTTPStatus.OK, {"path": str(file), "bytes": file.stat().st_size})
                return
            if self.path == "/model":
                body = self._body()
                bundle = self.stream.activate(str(body["bundle"]), str(body.get("hash", "")))
            elif self.path == "/model/rollback":
                bundle = self.stream.roll_back()
            else:
                self.lost()
                return
        except (ValueError, KeyError, TypeError) as error:
            self.told(HTTPStatus.BAD_REQUEST, {"error": f'the body must be {{"bundle": PATH}}: {error}'})
        except FraudEngineError as error:
            self.told(HTTPStatus.UNPROCESSABLE_ENTITY, {"error": str(error)})
        else:
            self.told(HTTPStatus.OK, {"bundle": str(bundle.path), "bundle_hash": bundle.hash})

    def _body(self) -> dict[str, Any]:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 <= length <= _BODY_BYTES_MAX:
            raise ValueError(f"Content-Length is {length}, must be at most {_BODY_BYTES_MAX}")
        body = json.loads(self.rfile.read(length))
        if not isinstance(body, dict):
            raise TypeError("not an object")
        return body
