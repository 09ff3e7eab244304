"""Ports on 127.0.0.1: the configured one, the one remembered, or a free one picked now."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import ExitStack

from fraudengine.errors import ServiceError

__all__ = ["HOST", "choose", "listening"]

HOST = "127.0.0.1"


def listening(port: int) -> bool:
    """Tell whether somebody accepts connections on this port."""
    try:
        with socket.create_connection((HOST, port), timeout=1.0):
            return True
    except OSError:
        return False


def choose(wanted: Mapping[str, int], remembered: Mapping[str, int]) -> dict[str, int]:
    """Return a port for every name.

    Parameters
    ----------
    wanted
        Port by name, 1 to 65535; 0 takes the remembered one, or a free one when that is taken or unknown.
    remembered
        Port by name, as picked earlier.

    Raises
    ------
    ServiceError
        A wanted port is taken by another program.
    """
    chosen: dict[str, int] = {}
    with ExitStack() as held:
        # All are held until all are chosen, and the free ones come last, so that no two names get the same
        # one.
        for name in sorted(wanted, key=lambda name: (wanted[name] == 0, name not in remembered)):
            port = wanted[name]
            taken = _hold(held, port or remembered.get(name, 0))
            if taken is None and port:
                raise ServiceError(
                    f"port {port} is taken by another program: set embedded.{name}_port to a free one, "
                    f"or to 0 to have one picked"
                )
            taken = taken or _hold(held, 0)
            if taken is None:
                raise ServiceError("no free port on 127.0.0.1")
            chosen[name] = taken
    return chosen


def _hold(held: ExitStack, port: int) -> int | None:
    holder = held.enter_context(socket.socket())
    # As the services themselves do: connections of an earlier run that linger do not count as taken.
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        holder.bind((HOST, port))
    except OSError:
        return None
    return int(holder.getsockname()[1])
