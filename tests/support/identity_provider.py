"""An OpenID Connect provider on a loopback port: it lets everybody in as one person, whom the test names."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

__all__ = ["CLIENT", "SECRET", "IdentityProvider", "identity_provider"]

CLIENT, SECRET = "fraudengine", "of the client"
_CODE = "once"


class IdentityProvider:
    """What is known of the person who logs in, and what was asked.

    Attributes
    ----------
    person
        Claims of the identity token beside those of the protocol.
    asked
        Paths in the order in which they were asked for.

    """

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.person: dict[str, Any] = {}
        self.asked: list[str] = []
        self._nonce = ""
        self._key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)

    def metadata(self) -> dict[str, Any]:
        """Return what it tells about itself."""
        ends = {"authorization": "authorize", "token": "token", "userinfo": "userinfo"}
        return {
            "issuer": self.issuer,
            **{f"{name}_endpoint": f"{self.issuer}/{path}" for name, path in ends.items()},
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def authorized(self, asked: dict[str, list[str]]) -> str:
        """Return where the browser goes after the log-in."""
        assert asked["client_id"] == [CLIENT]
        self._nonce = asked["nonce"][0]
        return f"{asked['redirect_uri'][0]}?{urlencode({'code': _CODE, 'state': asked['state'][0]})}"

    def tokens(self, asked: dict[str, list[str]]) -> dict[str, Any]:
        """Return the tokens for a code."""
        assert asked["code"] == [_CODE]
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 600, "nonce": self._nonce}
        return {
            "access_token": "unused",
            "token_type": "Bearer",
            "expires_in": 600,
            "id_token": self._signed({**claims, **self.person}),
        }

    def keys(self) -> dict[str, Any]:
        """Return the key that its tokens are signed with."""
        numbers = self._key.public_key().public_numbers()
        parts = {"n": numbers.n, "e": numbers.e}
        told = {name: _encoded(each.to_bytes((each.bit_length() + 7) // 8)) for name, each in parts.items()}
        return {"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1", **told}]}

    def _signed(self, claims: dict[str, Any]) -> str:
        head = {"alg": "RS256", "kid": "1", "typ": "JWT"}
        text = ".".join(_encoded(json.dumps(each).encode()) for each in (head, claims))
        return f"{text}.{_encoded(self._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextmanager
def identity_provider() -> Iterator[IdentityProvider]:
    """Yield a provider that answers until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    provider = _Handler.provider = IdentityProvider(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, name="identity provider")
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    provider: IdentityProvider

    def do_GET(self) -> None:
        """Answer what a browser and a client ask for."""
        target = urlsplit(self.path)
        self.provider.asked.append(target.path)
        if target.path == "/authorize":
            self.send_response(302)
            self.send_header("Location", self.provider.authorized(parse_qs(target.query)))
            self.end_headers()
            return
        told = {"/.well-known/openid-configuration": self.provider.metadata, "/keys": self.provider.keys}
        self._send(told[target.path]())

    def do_POST(self) -> None:
        """Answer the exchange of a code for tokens."""
        self.provider.asked.append(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._send(self.provider.tokens(parse_qs(body)))

    def _send(self, told: dict[str, Any]) -> None:
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
