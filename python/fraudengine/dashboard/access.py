"""Who may look and who may judge: passwords of the two roles, sessions, and roles of OIDC identities.

Every password that comes is compared with every one that there is, in constant time. After `_FREE_TRIES`
wrong ones an address waits, twice as long after each further one; meanwhile nothing is compared. Both that
memory and the sessions are bounded, kept in this process only, and lost with it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fraudengine.settings import DashboardSettings

__all__ = ["Gate", "Refusal", "Role", "User"]

_FREE_TRIES = 3
_WAIT_SECONDS_MAX = 60.0
_FORGET_SECONDS = 900.0
_ADDRESSES_MAX = 10_000
_SESSIONS_MAX = 10_000
_NAME_MAX = 64


class Role(StrEnum):
    """What a user may do; an analyst may do all that a viewer may."""

    VIEWER = "viewer"
    ANALYST = "analyst"


@dataclass(frozen=True, slots=True)
class User:
    """Who is logged in: the name that stands beside verdicts, and the role."""

    name: str
    role: Role

    @property
    def may_judge(self) -> bool:
        """Whether this user may give verdicts."""
        return self.role is Role.ANALYST


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why somebody was not let in, in words for that person."""

    reason: str


class Gate:
    """Knows the passwords of `[dashboard]`, and who has come in. Safe to use from several threads.

    Parameters
    ----------
    dashboard
        The section `[dashboard]`.
    clock
        Seconds that only grow.

    """

    def __init__(self, dashboard: DashboardSettings, clock: Callable[[], float] = time.monotonic) -> None:
        told = {Role.ANALYST: dashboard.analyst_password, Role.VIEWER: dashboard.viewer_password}
        self._digests = {
            role: _digest(password.get_secret_value())
            for role, password in told.items()
            if password.get_secret_value()
        }
        self._by_address = {
            Role.ANALYST: {each.casefold() for each in dashboard.analysts},
            Role.VIEWER: {each.casefold() for each in dashboard.viewers},
        }
        self._role_claim = dashboard.role_claim
        self.has_passwords = bool(self._digests)
        """Whether there is a password to log in with."""
        self.has_oidc = bool(dashboard.oidc_secrets.name)
        """Whether there is a log-in by OIDC."""
        self._session_seconds = dashboard.session_hours * 3_600
        self._clock = clock
        self._lock = threading.Lock()
        self._failed: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._sessions: OrderedDict[bytes, tuple[User, float]] = OrderedDict()

    @property
    def is_open(self) -> bool:
        """Whether everybody who reaches the dashboard is an analyst."""
        return not (self.has_passwords or self.has_oidc)

    def enter(self, name: str, password: str, address: str) -> User | Refusal:
        """Return who comes in with this password.

        Parameters
        ----------
        name
            As the person gives it: it stands beside verdicts.
        password
            Decides the role.
        address
            Where the person comes from; wrong passwords slow down this address only.

        """
        shown = " ".join(name.split())
        if not shown or len(shown) > _NAME_MAX or not shown.isprintable():
            return Refusal(f"Please give your name, at most {_NAME_MAX} characters.")
        with self._lock:
            now = self._clock()
            failures, next_try = self._failed.get(address, (0, 0.0))
            if now < next_try:
                return Refusal(f"Too many wrong passwords. Try again in {next_try - now:.0f} s.")
            if now > next_try + _FORGET_SECONDS:
                failures = 0
            given = _digest(password)
            # A list, not a search that ends early: time tells nothing about which one was near.
            right = [role for role, known in self._digests.items() if hmac.compare_digest(known, given)]
            if right:
                self._failed.pop(address, None)
                return User(shown, right[0])
            failures += 1
            wait = min(_WAIT_SECONDS_MAX, 2.0 ** (failures - _FREE_TRIES)) if failures >= _FREE_TRIES else 0.0
            self._failed[address] = (failures, now + wait)
            self._failed.move_to_end(address)
            while len(self._failed) > _ADDRESSES_MAX:
                self._failed.popitem(last=False)
        return Refusal("Wrong password." + (f" Next try in {wait:.0f} s." if wait else ""))

    def identified(self, claims: Mapping[str, object]) -> User | Refusal:
        """Return who an OIDC provider says this is, with the role that the settings give."""
        email = str(claims.get("email") or "").casefold()
        name = str(claims.get("name") or email or claims.get("sub") or "")[:_NAME_MAX]
        # An address that its owner has not confirmed is anybody's.
        verified = email if claims.get("email_verified") is True else ""
        claim = claims.get(self._role_claim) if self._role_claim else None
        roles = claim if isinstance(claim, list | tuple) else [claim]
        for role in (Role.ANALYST, Role.VIEWER):
            if (verified and verified in self._by_address[role]) or role.value in roles:
                return User(name, role)
        return Refusal(
            f"{email or name or 'This account'} has no role here. Ask whoever runs this dashboard."
        )

    def remember(self, user: User) -> str:
        """Return the token of a new session, which `recalled` knows for `dashboard.session_hours`."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._sessions[_digest(token)] = (user, self._clock() + self._session_seconds)
            while len(self._sessions) > _SESSIONS_MAX:
                self._sessions.popitem(last=False)
        return token

    def recalled(self, token: str) -> User | None:
        """Return whose session this is; `None`: it is over, or there was none."""
        key = _digest(token)
        with self._lock:
            user, until = self._sessions.get(key, (None, 0.0))
            if user is not None and self._clock() >= until:
                del self._sessions[key]
                return None
            return user

    def forget(self, token: str) -> None:
        """End a session."""
        with self._lock:
            self._sessions.pop(_digest(token), None)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
