"""The one door to the network: where a message may go is checked when it connects, and an attempt has an end.

A name is resolved here, each address is judged, and it is that very address that is connected to: a name that
leads to the Internet when asked once and into the own network when asked again gains nothing. Every
connection is TLS with a verified certificate.

An attempt has one deadline for everything, name resolution included. When it has passed the connection is
shut down, so that a server that answers a byte a second cannot hold a sender.
"""

from __future__ import annotations

import http.client
import ipaddress
import queue
import smtplib
import socket
import ssl
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from fraudengine.alerts.targets.outcome import Trouble
from fraudengine.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

__all__ = ["NETWORK_ERRORS", "Attempt", "ForbiddenAddressError", "Gate", "is_public"]

NETWORK_ERRORS = (OSError, http.client.HTTPException, smtplib.SMTPException, EOFError, ValueError)
"""What clients raise when the network or the other side fails."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class ForbiddenAddressError(OSError):
    """A name leads to addresses that are not on the Internet, and `alerts.private_hosts` does not have it."""


def is_public(text: str) -> bool:
    """Tell whether an address is on the Internet, looking into the IPv4 addresses that some of IPv6 carry."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
        if any(each is not None and not is_public(str(each)) for each in inner):
            return False
        if address.ipv4_mapped is not None:
            return True
    return address.is_global and not address.is_multicast


class Gate:
    """What all attempts have in common.

    Parameters
    ----------
    private_hosts
        Names that may lead anywhere.
    ca_file
        Who signs certificates; an empty path takes the system's.
    timeout_seconds
        Longest that an attempt may take.

    Raises
    ------
    ConfigError
        The file cannot be read.

    """

    def __init__(self, private_hosts: Collection[str], ca_file: Path, timeout_seconds: float) -> None:
        self.private_hosts = frozenset(private_hosts)
        self.timeout_seconds = timeout_seconds
        try:
            self.context = ssl.create_default_context(cafile=str(ca_file) if ca_file.name else None)
        except OSError as error:
            raise ConfigError(
                f"alerts.ca_file {ca_file} cannot be used: {error.strerror or error}"
            ) from error

    @contextmanager
    def attempt(self) -> Iterator[Attempt]:
        """Yield an attempt that ends in time."""
        attempt = Attempt(self)
        timer = threading.Timer(self.timeout_seconds, attempt.end)
        timer.daemon = True
        timer.start()
        try:
            yield attempt
        finally:
            timer.cancel()
            attempt.close()


class Attempt:
    """One attempt: its connection and its deadline.

    Parameters
    ----------
    gate
        What it has in common with others.

    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._until = time.monotonic() + gate.timeout_seconds
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.ended = False
        """Whether the time is up."""

    @property
    def context(self) -> ssl.SSLContext:
        """What verifies certificates."""
        return self._gate.context

    @property
    def left_seconds(self) -> float:
        """What is left of its time; above 0, because 0 means otherwise to sockets."""
        return max(0.001, self._until - time.monotonic())

    def connect(self, host: str, port: int) -> socket.socket:
        """Return a connection to one of the addresses of a name that are allowed.

        Raises
        ------
        ForbiddenAddressError
            None of them is.
        OSError
            The name is not known, or nobody answers.

        """
        free = host in self._gate.private_hosts
        found = [each for each in self._resolve(host, port) if free or is_public(str(each[4][0]))]
        if not found:
            raise ForbiddenAddressError(
                f"{host} leads to no address on the Internet (see alerts.private_hosts)"
            )
        failed: OSError | None = None
        for family, kind, protocol, _, address in found:
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(self.left_seconds)
                connection.connect(address)
            except OSError as error:
                connection.close()
                failed = error
            else:
                return self._guarded(connection)
        raise failed or OSError(f"{host} has no address")

    def secured(self, host: str, port: int) -> ssl.SSLSocket:
        """Return such a connection inside TLS, its certificate verified; raises as `connect`."""
        return self.wrap_socket(self.connect(host, port), host)

    def wrap_socket(self, connection: socket.socket, server_hostname: str) -> ssl.SSLSocket:
        """Begin TLS on a connection, as the method of `ssl.SSLContext` does, inside the deadline."""
        secured = self.context.wrap_socket(
            connection, server_hostname=server_hostname, do_handshake_on_connect=False
        )
        self._guarded(secured)
        secured.do_handshake()
        return secured

    def trouble(self, error: BaseException, host: str) -> Trouble:
        """Return what an error of the network means, in words that hold no address of a webhook."""
        if self.ended or isinstance(error, TimeoutError):
            return Trouble(f"{host}: no answer within {self._gate.timeout_seconds:g} s")
        if isinstance(error, ForbiddenAddressError):
            return Trouble(str(error))
        if isinstance(error, ssl.SSLCertVerificationError):
            return Trouble(f"{host}: its certificate is not accepted: {error.verify_message}")
        if isinstance(error, OSError) and error.strerror:
            return Trouble(f"{host}: {error.strerror}")
        return Trouble(f"{host}: {type(error).__name__}")

    def end(self) -> None:
        """End it: whoever waits for the other side gets an error."""
        with self._lock:
            self.ended = True
            if self._socket is not None:
                with suppress(OSError):
                    # Not the method of the TLS socket, which another thread may be inside of.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close its connection, also one that no client has taken over."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()

    def _guarded(self, connection: socket.socket) -> socket.socket:
        with self._lock:
            self._socket = connection
            connection.settimeout(self.left_seconds)
            if self.ended:
                raise TimeoutError
        return connection

    def _resolve(self, host: str, port: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        """Ask for addresses on a thread of its own: the resolver has timeouts of its own, and long ones."""
        answers: queue.SimpleQueue[object] = queue.SimpleQueue()

        def ask() -> None:
            try:
                answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
            except (OSError, UnicodeError) as error:
                answers.put(error)

        threading.Thread(target=ask, name="resolver", daemon=True).start()
        try:
            answer = answers.get(timeout=self.left_seconds)
        except queue.Empty:
            raise TimeoutError from None
        if isinstance(answer, BaseException):
            raise answer if isinstance(answer, OSError) else OSError(f"{host} is not a name")
        return answer  # type: ignore[return-value]  # what getaddrinfo returned
