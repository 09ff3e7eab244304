"""All methods of a server behind one door: a call is found, guarded and given its line in the log.

Interceptors of grpcio would do the same, with a coroutine of each on the way of every call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fraudengine.serving.calls import CallLog
    from fraudengine.serving.guard import Guard

__all__ = ["Front"]


class Front(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """The one handler that a server is given; the services are added here as to a server.

    Parameters
    ----------
    log
        Tells about each call.
    guard
        Who may call; `None`: everybody.

    """

    def __init__(self, log: CallLog, guard: Guard | None) -> None:
        self._log = log
        self._guard = guard
        self._services: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Add services."""
        self._services.extend(handlers)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """Return the handler of a call; `None`: there is no such method."""
        for each in self._services:
            handler = each.service(handler_call_details)
            if handler is not None:
                break
        else:
            self._log.unknown(handler_call_details.method)
            return None
        if self._guard is not None:
            handler = self._guard.checked(handler, handler_call_details)
        return self._log.around(handler, handler_call_details.method)
