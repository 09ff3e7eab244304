"""Passwords, sessions and roles: who comes in, who waits, what is forgotten."""

from __future__ import annotations

import pytest

from fraudengine.config import load
from fraudengine.dashboard.access import Gate, Refusal, Role, User
from fraudengine.dashboard.launch import app_file, options
from fraudengine.errors import ConfigError

HERE = "10.0.0.1"
PASSWORDS = {"dashboard.viewer_password": "look", "dashboard.analyst_password": "judge"}


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        """Return them."""
        return self.now


def gate(clock: Clock | None = None, **flags: object) -> Gate:
    named = {f"dashboard.{name}": value for name, value in flags.items()}
    return Gate(load(flags={**PASSWORDS, **named}).dashboard, clock or Clock())


def test_the_password_decides_the_role() -> None:
    known = gate()
    assert known.enter(" Ann  Lee ", "judge", HERE) == User("Ann Lee", Role.ANALYST)
    assert known.enter("Vic", "look", HERE) == User("Vic", Role.VIEWER)
    assert User("Ann", Role.ANALYST).may_judge
    assert not User("Vic", Role.VIEWER).may_judge


@pytest.mark.parametrize("password", ["", "judg", "judge ", "JUDGE", "jüdge", "\ud800"])
def test_no_other_password_opens(password: str) -> None:
    assert isinstance(gate().enter("Ann", password, HERE), Refusal)


def test_a_role_without_password_cannot_be_entered() -> None:
    known = gate(viewer_password="")
    assert isinstance(known.enter("Vic", "", HERE), Refusal)
    assert not known.is_open


@pytest.mark.parametrize("name", ["", "  ", "x" * 65, "a\x07b"])
def test_a_name_stands_beside_verdicts_so_it_must_be_one(name: str) -> None:
    told = gate().enter(name, "judge", HERE)
    assert isinstance(told, Refusal)
    assert "name" in told.reason


def test_wrong_passwords_slow_down_their_address_and_no_other() -> None:
    clock = Clock()
    known = gate(clock)
    for _ in range(2):
        known.enter("Ann", "wrong", HERE)
    assert isinstance(known.enter("Ann", "wrong", HERE), Refusal)
    waiting = known.enter("Ann", "judge", HERE)
    assert isinstance(waiting, Refusal), "the right password waits too: nothing is compared"
    assert "Too many" in waiting.reason
    assert known.enter("Bob", "judge", "10.0.0.2") == User("Bob", Role.ANALYST)
    clock.now += 1.1
    assert known.enter("Ann", "judge", HERE) == User("Ann", Role.ANALYST)


def test_the_wait_doubles_up_to_a_minute_and_is_forgotten() -> None:
    clock = Clock()
    known = gate(clock)
    waits = []
    for _ in range(12):
        began = clock.now
        while "Too many" in str(known.enter("Ann", "wrong", HERE)):
            clock.now += 0.5
        waits.append(clock.now - began)
    assert waits == [0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    clock.now += 1_000
    assert "Next try" not in str(known.enter("Ann", "wrong", HERE))


def test_a_session_ends_with_time_or_log_out() -> None:
    clock = Clock()
    known = gate(clock, session_hours=1)
    ann = User("Ann", Role.ANALYST)
    first, second = known.remember(ann), known.remember(ann)
    assert first != second
    assert known.recalled(first) == known.recalled(second) == ann
    known.forget(first)
    assert known.recalled(first) is None
    clock.now += 3_600
    assert known.recalled(second) is None
    assert known.recalled("made up") is None


def test_an_identity_has_the_role_of_its_verified_address_or_claim() -> None:
    known = gate(analysts=["Ann@Example.com"], viewers=["vic@example.com"], role_claim="roles")
    ann = {"email": "ann@example.COM", "email_verified": True, "name": "Ann"}
    assert known.identified(ann) == User("Ann", Role.ANALYST)
    assert isinstance(known.identified({**ann, "email_verified": False}), Refusal)
    assert known.identified({"sub": "7", "roles": ["other", "viewer"]}) == User("7", Role.VIEWER)
    assert known.identified({"sub": "7", "roles": "analyst"}) == User("7", Role.ANALYST)
    assert isinstance(known.identified({"sub": "7", "roles": None}), Refusal)
    without = gate()
    assert isinstance(without.identified({"sub": "7", "": "analyst", "email_verified": True}), Refusal)


def test_strangers_need_a_password() -> None:
    opened = load(flags={"dashboard.host": "0.0.0.0"}).dashboard
    with pytest.raises(ConfigError, match=r"dashboard.host is 0.0.0.0.*analyst_password"):
        options(opened, 8501)
    told = options(load(flags={**PASSWORDS, "dashboard.host": "0.0.0.0"}).dashboard, 8501)
    assert told["server.address"] == "0.0.0.0"
    assert "server.allowedHosts" not in told
    assert "localhost" in options(load().dashboard, 8501)["server.allowedHosts"]


def test_a_missing_file_is_named() -> None:
    for key in ("oidc_secrets", "tls_certificate"):
        with pytest.raises(ConfigError, match=f"dashboard.{key} nowhere.pem is no file"):
            options(load(flags={f"dashboard.{key}": "nowhere.pem"}).dashboard, 8501)


def test_everything_is_local_and_the_pages_are_found() -> None:
    told = options(load().dashboard, 8501)
    assert (told["browser.gatherUsageStats"], told["server.headless"]) == (False, True)
    assert app_file().parent.name == "streamlit_app"
