"""Ports and who may connect: TLS where there is a certificate, else plain text on loopback addresses only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc

from fraudengine.addresses import is_loopback
from fraudengine.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from fraudengine.settings import ServeSettings

__all__ = ["TlsFiles", "bound", "tls_files"]


def bound(server: grpc.aio.Server, serve: ServeSettings, prefix: str = "") -> str:
    """Bind a port of a server; return the address, `HOST:PORT`.

    Parameters
    ----------
    server
        What listens.
    serve
        The section `[serve]`.
    prefix
        Of the names of host and port in it; empty, or `admin_`.

    Raises
    ------
    ConfigError
        A file cannot be read, the address cannot be used, or it is not for plain text.

    """
    where = f"{getattr(serve, f'{prefix}host')}:{getattr(serve, f'{prefix}port')}"
    files = tls_files(serve, prefix)
    credentials = None
    if files is not None:
        credentials = grpc.ssl_server_credentials(
            [(files.key, files.certificate)],
            files.client_ca,
            require_client_auth=files.client_ca is not None,
        )
    try:
        if credentials is None:
            port = server.add_insecure_port(where)
        else:
            port = server.add_secure_port(where, credentials)
    except RuntimeError as error:
        raise ConfigError(f"serve.{prefix}host and serve.{prefix}port: {where} cannot be used") from error
    return f"{getattr(serve, f'{prefix}host')}:{port}"


@dataclass(frozen=True)
class TlsFiles:
    """PEM texts: certificate chain, private key, who may sign clients (`None`: those need no certificate)."""

    certificate: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None


def tls_files(serve: ServeSettings, prefix: str = "") -> TlsFiles | None:
    """Return the files of TLS for a port of the service, `None` for plain text; parameters as of `bound`.

    Raises
    ------
    ConfigError
        A file cannot be read, or the address is not for plain text.
    """
    if serve.tls_certificate.name:
        ca_key = "admin_client_ca" if prefix else "tls_client_ca"
        ca_file: Path = getattr(serve, ca_key)
        return TlsFiles(
            certificate=_read(serve.tls_certificate, "tls_certificate"),
            key=_read(serve.tls_key, "tls_key"),
            client_ca=_read(ca_file, ca_key) if ca_file.name else None,
        )
    host: str = getattr(serve, f"{prefix}host")
    if not (serve.plaintext_anywhere or is_loopback(host)):
        raise ConfigError(
            f"serve.{prefix}host is {host}, not a loopback address: set serve.tls_certificate and "
            "serve.tls_key, or serve.plaintext_anywhere"
        )
    return None


def _read(path: Path, key: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"serve.{key} {path} cannot be read: {error.strerror}") from error
