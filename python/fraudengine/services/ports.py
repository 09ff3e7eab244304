"""Ports on 127.0.0.1: the configured one, the one remembered, or a free one picked now."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection, Mapping
from contextlib import ExitStack

from fraudengine.errors import ServiceError

__all__ = ["HOST", "choose", "listening"]

HOST = "127.0.0.1"

# Below the range from which systems pick the near end of outgoing connections (32768 or 49152 upwards). A
# service that is down must find its port free again; inside that range a client that tries to reconnect may
# be given the very port, and then it even connects to itself.
_FREE_PORTS = range(15_000, 32_000)
_TRIES = 200


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
        # The free ones come last and avoid those chosen before: two holders of one port do not disturb each
        # other as long as neither listens.
        for name in sorted(wanted, key=lambda name: (wanted[name] == 0, name not in remembered)):
            port = wanted[name]
            kept = port or remembered.get(name)
            taken = _hold(held, kept) if kept else None
            if taken is None and port:
                raise ServiceError(
                    f"port {port} is taken by another program: set embedded.{name}_port to a free one, "
                    f"or to 0 to have one picked"
                )
            chosen[name] = taken or _hold_free(held, chosen.values())
    return chosen


def _hold_free(held: ExitStack, chosen: Collection[int]) -> int:
    picks = random.SystemRandom()
    for _ in range(_TRIES):
        pick = picks.choice(_FREE_PORTS)
        if pick not in chosen and (port := _hold(held, pick)):
            return port
    raise ServiceError(f"no free port on {HOST} from {_FREE_PORTS.start} to {_FREE_PORTS.stop - 1}")


def _hold(held: ExitStack, port: int) -> int | None:
    holder = held.enter_context(socket.socket())
    # As the services themselves do: connections of an earlier run that linger do not count as taken.
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        holder.bind((HOST, port))
    except OSError:
        return None
    return port
