"""What messages look like and where they may go, without a network: texts, headers, addresses, secrets."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from email.policy import default
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from alert_records import alert
from hypothesis import given
from hypothesis import strategies as st

from fraudengine.alerts.message import Message, plain
from fraudengine.alerts.rollup import Rollup
from fraudengine.alerts.sending import pause_seconds
from fraudengine.alerts.targets import targets_of
from fraudengine.alerts.targets.gate import is_public
from fraudengine.alerts.targets.https import Address, retry_after
from fraudengine.alerts.targets.mail import as_mail
from fraudengine.alerts.targets.slack import escaped
from fraudengine.alerts.targets.webhook import key_of, signature
from fraudengine.config import load
from fraudengine.errors import ConfigError

SECRET = "T0P/S3CR3T"
CARD = "4111 1111 1111 1111"


def message(**changed: Any) -> Message:
    told = {"id": "i1", "thread": "i1", "number": 1, "route": "all", "subject": "card:k0", "alerts_before": 0}
    return Message(**{**told, "rollup": Rollup.of(alert()), "made_ms": 1_764_331_200_000, **changed})


def test_a_message_survives_being_written_down() -> None:
    assert Message.from_json(message().to_json()) == message()


def test_a_message_says_what_happened() -> None:
    rollup = Rollup.of(alert(0, amount_minor=1_234_567_89, action="block", score=0.5))
    rollup.add(Rollup.of(alert(61, amount_minor=500, currency="JPY", action="block", score=0.75)))
    rollup.add(Rollup.of(alert(2, amount_minor=1, currency="KWD")))
    told = message(rollup=rollup, number=2, alerts_before=7)
    assert told.title == "3 more alerts: card k0 (block 2, review 1)"
    assert told.text.splitlines() == [
        "block: 2 for EUR 1,234,567.89, JPY 500",
        "review: 1 for KWD 0.001",
        "payments from 2025-11-28 12:00:00 UTC to 2025-11-28 12:01:01 UTC",
        "highest score: 0.7500",
        "reasons: merchant_fraud_rate_30d (3)",
        "newest: t2, review, KWD 0.001 by c0 at m0",
        "newest: t61, block, JPY 500 by c0 at m0",
        "newest: t0, block, EUR 1,234,567.89 by c0 at m0",
        "message 2 of this group, 7 alerts before it",
        "route all, message id i1",
    ]
    assert message(subject="others").title == "1 alert: many (too many groups) (review 1)"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("tok_81f3", "tok_81f3"),
        ("a\r\nBcc: x@y", "a\ufffd\ufffdBcc: x@y"),
        ("\u202eevil", "\ufffdevil"),
        (CARD, "(card number)"),
        ("x" * 128, "x" * 128),
        ("x" * 129, "x" * 127 + "\u2026"),
    ],
)
def test_a_foreign_text_is_shown_as_what_it_is(text: str, shown: str) -> None:
    assert plain(text) == shown


@given(st.text())
def test_no_foreign_text_ends_a_line_or_makes_a_mention(text: str) -> None:
    told = message(subject=f"card:{text}", rollup=Rollup.of(alert(transaction_id=text, reasons=(text,))))
    assert len(told.title.splitlines()) == 1
    assert len(told.text.splitlines()) == 6
    assert not {"<", ">"} & set(escaped(told.title + told.text))
    mail = as_mail(told, "a@example.com", "b@example.com")
    head = mail.as_bytes().split(b"\r\n\r\n")[0].replace(b"\r\n ", b" ")
    assert len(head.split(b"\r\n")) == len(mail.keys())
    assert json.loads(json.dumps(told.as_data(), allow_nan=False))["group"]["by"] == "card"


def test_mails_of_a_group_are_one_conversation() -> None:
    first, second = message(), message(id="i2", number=2)
    mails = [as_mail(each, "a@example.com", "b@example.com") for each in (first, second)]
    assert mails[0]["Message-ID"] == "<i1@example.com>"
    assert mails[0]["References"] is None
    assert mails[1]["References"] == mails[1]["In-Reply-To"] == "<i1@example.com>"
    assert mails[0]["Date"] == format_datetime(datetime(2025, 11, 28, 12, tzinfo=UTC))
    assert first.text in mails[0].get_content()
    assert mails[0].as_bytes() == as_mail(first, "a@example.com", "b@example.com").as_bytes()
    assert mails[0].policy.max_line_length == default.max_line_length


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2001:4860:4860::8888", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::8.8.8.8", True),
        ("64:ff9b::10.0.0.1", False),
        ("2002:7f00:1::", False),
    ],
)
def test_an_address_is_public_or_not(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_an_address_of_a_webhook_is_taken_apart() -> None:
    hosts = ["hooks.slack.com", "cases.example.com:8443"]
    assert Address.of(f"https://hooks.slack.com/{SECRET}", hosts, "k").path == f"/{SECRET}"
    assert Address.of("https://HOOKS.slack.com:443", hosts, "k").host == "hooks.slack.com"
    told = Address.of("https://cases.example.com:8443/a?b=c", hosts, "k")
    assert (told.port, told.path) == (8443, "/a?b=c")
    assert SECRET not in repr(Address.of(f"https://hooks.slack.com/{SECRET}", hosts, "k"))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"http://hooks.slack.com/{SECRET}", "must be of the form https"),
        (f"https://example.com/{SECRET}", "leads to example.com, which is not in alerts.hosts"),
        (f"https://hooks.slack.com:444/{SECRET}", "leads to hooks.slack.com:444, which is not in"),
        (f"https://hooks.slack.com.example.com/{SECRET}", "which is not in alerts.hosts"),
        (f"https://hooks.slack.com@example.com/{SECRET}", "must be of the form"),
        (f"https://hooks.slack.com/{SECRET}#x", "must be of the form"),
        (f"https://hooks.slack.com/{SECRET} HTTP/1.1\r\nX: y", "a character in its path"),
        (f"https:///{SECRET}", "must be of the form"),
        (f"https://hooks.slack.com:x/{SECRET}", "is not a URL"),
        (f"file:///{SECRET}", "must be of the form"),
    ],
)
def test_another_address_is_refused_without_being_shown(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        Address.of(url, ["hooks.slack.com"], "alerts.targets.x")
    assert SECRET not in str(refused.value)


def test_retry_after_is_seconds_or_a_moment_and_bounded() -> None:
    assert retry_after(None) is None
    assert retry_after("soon") is None
    assert retry_after("") is None
    assert retry_after("7") == 7.0
    assert retry_after("-7") is None
    assert retry_after("9" * 400) == 3_600.0
    assert retry_after("Fri, 28 Nov 1900 12:00:00 GMT") == 0.0
    later = retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True))
    assert later is not None
    assert 50 < later <= 60


def test_a_webhook_is_signed_as_the_standard_says() -> None:
    # The example of standardwebhooks.com, which its libraries are tested with.
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "k")
    told = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}')
    assert told == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    plain_key = key_of("a secret of 20 bytes", "k")
    assert plain_key == b"a secret of 20 bytes"
    digest = hmac.new(plain_key, b"i.5.body", hashlib.sha256).digest()
    assert signature(plain_key, "i", 5, b"body") == f"v1,{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize("secret", ["short", "whsec_c2hvcnQ=", "whsec_not base64!"])
def test_a_bad_secret_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(ConfigError, match=r"k (begins with|has)") as refused:
        key_of(secret, "k")
    assert secret not in str(refused.value)


def test_pauses_double_and_are_bounded() -> None:
    assert [pause_seconds(failures, 300, 1.0) for failures in (1, 2, 3, 9, 10, 10**6)] == [
        1,
        2,
        4,
        256,
        300,
        300,
    ]
    assert pause_seconds(3, 300, 0.5) == 2


SLACK = {"kind": "slack", "url": f"https://hooks.slack.com/{SECRET}"}
MAIL = {"kind": "email", "host": "mail", "sender": "a@x.de", "to": "b@x.de"}


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ({"kind": "fax"}, "does not match any of the expected tags"),
        ({"kind": "slack"}, "give either url or url_file"),
        ({**SLACK, "url_file": "x"}, "give either url or url_file"),
        ({**SLACK, "colour": 1}, r"\(x.slack.colour\)"),
        (
            {"kind": "webhook", "url": f"https://hooks.slack.com/{SECRET}"},
            "give either secret or secret_file",
        ),
        ({**MAIL, "security": "none"}, "should be 'starttls' or 'tls'"),
        ({**MAIL, "to": "b@x.de\r\nBcc: c@x.de"}, "should match pattern"),
        ({**MAIL, "user": "u"}, "give either password or password_file"),
        ({**SLACK, "messages_per_minute": 0}, "greater than 0"),
    ],
)
def test_a_target_that_cannot_be_meant_is_refused(target: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        load(flags={"alerts.targets": {"x": target}})
    assert SECRET not in str(refused.value)


# A library that Apprise imports is deprecated in newer versions of Python.
@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    ("target", "said"),
    [
        ({**SLACK, "url": f"https://example.com/{SECRET}"}, r"alerts.targets.x.url leads to example.com"),
        ({"kind": "slack", "url_file": "missing"}, r"alerts.targets.x.url_file missing cannot be read"),
        ({"kind": "apprise", "url": f"json://localhost/{SECRET}"}, "json is not in alerts.apprise_schemas"),
        ({"kind": "apprise", "url": SECRET}, "that is not in alerts.apprise_schemas"),
        ({"kind": "apprise", "url": f"pagerduty://{SECRET}"}, "is not a URL of Apprise's pagerduty"),
        (
            {"kind": "webhook", "url": f"https://hooks.slack.com/{SECRET}", "secret": "short"},
            "alerts.targets.x.secret has 5 bytes",
        ),
    ],
)
def test_a_target_that_cannot_be_used_is_refused_at_the_start(
    target: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = {"alerts.targets": {"x": target}, "alerts.apprise_schemas": ["pagerduty"]}
    with pytest.raises(ConfigError, match=said) as refused:
        targets_of(load(flags=told).alerts)
    assert SECRET not in str(refused.value)
    assert SECRET.lower() not in str(refused.value)


def test_secrets_are_masked_and_may_stand_in_files(tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"https://hooks.slack.com/{SECRET}\n")
    targets = {
        "a": SLACK,
        "b": {"kind": "slack", "url_file": str(tmp_path / "url")},
        "c": {**MAIL, "user": "u", "password": SECRET},
        "d": {"kind": "webhook", "url": f"https://hooks.slack.com/{SECRET}", "secret": SECRET * 2},
    }
    settings = load(flags={"alerts.targets": targets})
    printed = {name: value for name, value, _ in settings.printable()}["alerts.targets"]
    assert SECRET not in json.dumps(printed)
    assert SECRET not in repr(settings)
    assert isinstance(printed, dict)
    assert printed["a"]["url"] == "********"
    assert printed["c"]["password"] == "********"
    assert set(targets_of(settings.alerts)) == set(targets)
    (tmp_path / "url").write_text(" \n")
    with pytest.raises(ConfigError, match=r"url_file .* is empty"):
        targets_of(settings.alerts)


def test_a_route_leads_to_a_target_that_there_is() -> None:
    with pytest.raises(ConfigError, match=r"alerts\.routes is .* large leads to 'y', which is not in alerts"):
        load(flags={"alerts.targets": {"x": SLACK}, "alerts.routes": {"large": {"targets": ["y"]}}})
