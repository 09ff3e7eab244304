"""Targets against real servers that take, refuse, redirect, hang, drip, and have the wrong certificate."""

from __future__ import annotations

import json
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mail_server import PASSWORD, USER, MailBox, free_port, mail_server
from secured import Authority
from webhook_server import Answer, WebhookServer, webhook_server

from fraudengine.alerts.targets import Accepted, Outcome, Refused, Trouble, targets_of
from fraudengine.alerts.targets.webhook import key_of, signature
from fraudengine.alerts.trial import trial_message
from fraudengine.cli import main
from fraudengine.config import load

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TIMEOUT_SECONDS = 1.0


@pytest.fixture(scope="module")
def authority() -> Iterator[Authority]:
    with tempfile.TemporaryDirectory(prefix="fraudengine-alerts-") as folder:
        yield Authority(Path(folder))


@pytest.fixture
def server(authority: Authority) -> Iterator[WebhookServer]:
    with webhook_server(authority.server("localhost")) as running:
        yield running


def flags(target: dict[str, Any], authority: Authority, *hosts: str, **more: object) -> dict[str, object]:
    return {
        "alerts.targets": {"x": target},
        "alerts.hosts": json.dumps(hosts),
        "alerts.private_hosts": '["localhost"]',
        "alerts.ca_file": str(authority.root),
        "alerts.timeout_seconds": TIMEOUT_SECONDS,
        **{f"alerts.{name}": value for name, value in more.items()},
    }


def sent(target: dict[str, Any], authority: Authority, *hosts: str, **more: object) -> Outcome:
    """Send the test message; it must end in time whatever the other side does."""
    settings = load(flags=flags(target, authority, *hosts, **more)).alerts
    x = targets_of(settings)["x"]
    began = time.monotonic()
    outcome = x.send(trial_message())
    assert time.monotonic() - began < settings.timeout_seconds + 2
    return outcome


def hook(server: WebhookServer) -> dict[str, Any]:
    return {"kind": "webhook", "url": server.url, "secret": SECRET}


def test_a_webhook_is_signed_and_holds_the_message(server: WebhookServer, authority: Authority) -> None:
    assert sent(hook(server), authority, server.host) == Accepted()
    (call,) = server.taken
    seconds = int(call.headers["webhook-timestamp"])
    assert abs(time.time() - seconds) < 60
    expected = signature(key_of(SECRET, ""), call.headers["webhook-id"], seconds, call.body)
    assert call.headers["webhook-signature"] == expected
    assert call.path == "/hidden-path"
    assert (call.json()["id"], call.json()["alerts"]) == (call.headers["webhook-id"], 1)
    assert call.headers["content-type"] == "application/json"


def test_slack_is_sent_plain_text(server: WebhookServer, authority: Authority) -> None:
    assert sent({"kind": "slack", "url": server.url}, authority, server.host) == Accepted()
    body = server.taken[0].json()
    assert body["text"].startswith("1 alert: customer this-is-a-test (review 1)\nreview: 1 for EUR 0.00")
    assert (body["mrkdwn"], body["parse"], body["link_names"]) == (False, "none", False)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(204), Accepted()),
        (Answer(429, (("Retry-After", "17"),)), Trouble("localhost: status 429 (ok)", 17.0)),
        (Answer(429), Trouble("localhost: status 429 (ok)")),
        (Answer(500), Trouble("localhost: status 500 (ok)")),
        (Answer(503, (("Retry-After", "99999"),)), Trouble("localhost: status 503 (ok)", 3_600.0)),
        (Answer(408), Trouble("localhost: status 408 (ok)")),
        (Answer(400), Refused("localhost: status 400 (ok)")),
        (Answer(404), Refused("localhost: status 404 (ok)")),
        (Answer(0), Trouble("localhost: no answer within 1 s")),
        (Answer(drip=True, taken=False), Trouble("localhost: no answer within 1 s")),
    ],
)
def test_what_the_other_side_says_decides(
    server: WebhookServer, authority: Authority, answer: Answer, outcome: Outcome
) -> None:
    server.answer = lambda _number: answer
    assert sent(hook(server), authority, server.host) == outcome
    assert server.calls == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(server: WebhookServer, authority: Authority, status: int) -> None:
    with webhook_server(authority.server("localhost")) as other:
        server.answer = lambda _number: Answer(status, (("Location", other.url),))
        outcome = sent(hook(server), authority, server.host, other.host)
        assert outcome == Refused(f"localhost: status {status} (ok): redirects are not followed")
        assert other.calls == 0


def test_a_certificate_must_be_for_the_host_and_of_the_authority(
    server: WebhookServer, authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path)
    outcome = sent(hook(server), stranger, server.host)
    assert isinstance(outcome, Trouble)
    assert "localhost: its certificate is not accepted" in outcome.reason
    with webhook_server(authority.server("elsewhere")) as other:
        outcome = sent(hook(other), authority, other.host)
    assert isinstance(outcome, Trouble)
    assert "its certificate is not accepted: Hostname mismatch" in outcome.reason
    assert not server.taken


def test_a_name_that_leads_to_this_machine_is_refused_unless_it_is_allowed(
    server: WebhookServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = sent(hook(server), authority, server.host, private_hosts="[]")
    assert refused == Trouble("localhost leads to no address on the Internet (see alerts.private_hosts)")
    target = {**hook(server), "url": f"https://127.0.0.1:{server.port}/x"}
    assert isinstance(sent(target, authority, f"127.0.0.1:{server.port}"), Trouble)
    # A proxy of the environment would connect in our place, unchecked.
    monkeypatch.setenv("HTTPS_PROXY", server.url)
    monkeypatch.setenv("ALL_PROXY", server.url)
    assert isinstance(sent(hook(server), authority, server.host, private_hosts="[]"), Trouble)
    assert server.calls == 0


def test_nobody_there_is_trouble(authority: Authority) -> None:
    with socket.socket() as taken:
        # Bound and not listening: connections are refused.
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        target = {"kind": "webhook", "url": f"https://localhost:{port}/x", "secret": SECRET}
        assert sent(target, authority, f"localhost:{port}") == Trouble("localhost: Connection refused")
    target = {"kind": "webhook", "url": "https://nobody.invalid/x", "secret": SECRET}
    assert isinstance(sent(target, authority, "nobody.invalid"), Trouble)


def mail(port: int, **more: object) -> dict[str, Any]:
    told = {"kind": "email", "host": "localhost", "sender": "a@example.com", "to": "b@example.com"}
    return {**told, "port": port, **more}


# The server does not know that it speaks TLS where it does from the start.
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
@pytest.mark.parametrize("tls_first", [False, True])
def test_mail_goes_by_tls_with_a_password(authority: Authority, tls_first: bool) -> None:
    box, port = MailBox(), free_port()
    target = mail(port, security="tls" if tls_first else "starttls", user=USER, password=PASSWORD)
    with mail_server(box, port, authority.server("localhost"), tls_first=tls_first, login=True):
        assert sent(target, authority) == Accepted()
        wrong = sent({**target, "password": "wrong"}, authority)
        assert wrong == Refused("localhost: code 535 (SMTPAuthenticationError)")
    (got,) = box.mails
    assert got["Subject"] == "1 alert: customer this-is-a-test (review 1)"
    assert (got["From"], got["To"]) == ("a@example.com", "b@example.com")
    assert box.secured == [True]


def test_mail_never_goes_without_tls(authority: Authority, tmp_path: Path) -> None:
    box, port = MailBox(), free_port()
    with mail_server(box, port, None):
        assert sent(mail(port), authority) == Trouble("localhost: SMTPNotSupportedError")
    with mail_server(box, port, authority.server("localhost")):
        outcome = sent(mail(port), Authority(tmp_path))
        assert isinstance(outcome, Trouble)
        assert "its certificate is not accepted" in outcome.reason
        private = sent(mail(port), authority, private_hosts="[]")
        assert private == Trouble("localhost leads to no address on the Internet (see alerts.private_hosts)")
    assert isinstance(sent(mail(port), authority), Trouble)
    assert not box.mails


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ("451 later", Trouble("localhost: code 451 (SMTPDataError)")),
        ("552 never", Refused("localhost: code 552 (SMTPDataError)")),
    ],
)
def test_a_mail_server_that_says_no_is_heard(authority: Authority, answer: str, outcome: Outcome) -> None:
    box, port = MailBox(lambda _number: answer), free_port()
    with mail_server(box, port, authority.server("localhost")):
        assert sent(mail(port), authority) == outcome


def test_a_mail_server_that_says_nothing_is_left(authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        for security in ("starttls", "tls"):
            outcome = sent(mail(port, security=security), authority)
            assert outcome == Trouble("localhost: no answer within 1 s")


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
def test_another_service_is_reached_by_apprise(
    server: WebhookServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Apprise uses the certificates of requests, which the environment names.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.root))
    target = {"kind": "apprise", "url": f"jsons://localhost:{server.port}/x"}
    assert sent(target, authority, apprise_schemas='["jsons"]') == Accepted()
    assert server.taken[0].json()["title"] == "1 alert: customer this-is-a-test (review 1)"
    server.answer = lambda _number: Answer(302, (("Location", server.url),))
    outcome = sent(target, authority, apprise_schemas='["jsons"]')
    assert outcome == Trouble("jsons: Apprise could not deliver it")
    assert server.calls == 2


def test_an_inbox_keeps_so_many(authority: Authority, tmp_path: Path) -> None:
    for _ in range(4):
        assert sent({"kind": "inbox", "folder": str(tmp_path / "in"), "keep": 3}, authority) == Accepted()
    assert len(list((tmp_path / "in").iterdir())) == 3
    (tmp_path / "file").touch()
    outcome = sent({"kind": "inbox", "folder": str(tmp_path / "file")}, authority)
    assert isinstance(outcome, Trouble)


def test_the_command_tries_every_target(
    server: WebhookServer, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        part for key, value in flags(hook(server), authority, server.host).items() if key != "alerts.targets"
        for part in ("--set", f"{key}={value}")
    ]  # fmt: skip
    port = free_port()
    targets = {"hook": hook(server), "mail": mail(port)}
    with pytest.raises(SystemExit) as ended:
        main(["alerts", "test", "--json", "--set", f"alerts.targets={json.dumps(targets)}", *options])
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert json.loads(said.out) == {"hook": "accepted", "mail": "localhost: Connection refused"}
    assert "error: not sent: mail" in said.err
    assert "hidden-path" not in said.out + said.err
