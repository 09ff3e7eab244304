"""Both clients against real servers: decisions, refusals, retries, deadlines, and no answer at all."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from scoring_proxy import proxied
from scoring_server import running
from small_bundle import small_bundle
from small_history import small_history

from fraudengine import Action, AsyncClient, Client
from fraudengine.bundle import Bundle
from fraudengine.client import Decision, NoAnswer, Refusal, Tls, by_amount
from fraudengine.errors import AccessDeniedError, ConfigError, NoAnswerError, RefusedError, ScoringError
from fraudengine.serving import ScoringServer
from fraudengine.training import BoosterOptions, ForestOptions


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    booster, forest = BoosterOptions(trees=5, depth=3), ForestOptions(trees=5, rows_per_tree=32)
    out = tmp_path_factory.mktemp("bundle") / "model"
    return small_bundle(small_history(), out, booster, forest)


@pytest.fixture(scope="module")
def server(bundle: Path) -> Iterator[ScoringServer]:
    with running(bundle) as started:
        yield started


@pytest.fixture
def client(server: ScoringServer) -> Iterator[Client]:
    with Client(server.address, timeout_seconds=20.0, batch_timeout_seconds=60.0) as made:
        yield made


def payment(name: str, **fields: Any) -> dict[str, Any]:
    now = time.time_ns() // 1_000
    least = {"transaction_id": name, "event_time": now, "customer_id": f"c-{name}", "amount_minor": 1_000}
    return {**least, **fields}


def closed_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def test_many_are_decided_as_the_engine_does(bundle: Path) -> None:
    history = small_history(labels=False).head(2_000)
    expected = Bundle.load(bundle).engine().process(history)
    names = [name for name in history.columns if name in payment("") or name in ("card_id", "device_id")]
    names += ["merchant_id", "ip_address", "channel", "currency", "merchant_category", "country"]
    names += ["latitude", "longitude"]
    asked = history.select([name for name in names if name in history.columns]).to_dicts()
    with running(bundle) as server, Client(server.address, timeout_seconds=20.0) as client:
        one_by_one = [client.score(each) for each in asked[:200]]
        rest = list(client.score_many(asked[200:], batch=300))
    decisions = [*one_by_one, *(each for each in rest if isinstance(each, Decision))]
    assert [each.score for each in decisions] == expected.score.tolist()
    assert [each.action for each in decisions] == expected.action.tolist()
    assert [each.transaction_id for each in decisions] == history["transaction_id"].to_list()
    assert {each.model for each in decisions} == {Bundle.load(bundle).hash[:16]}


def test_a_refusal_names_field_and_code(client: Client) -> None:
    for fields, field, code in (
        ({"amount_minor": -1}, "amount_minor", "amount_negative"),
        ({"event_time": 4_000_000_000_000_000}, "event_time", "time_ahead"),
        ({"device_id": "d" * 70_000}, "", "too_large"),
        ({"merchant_id": "4111 1111 1111 1111"}, "merchant_id", "card_number"),
        ({"amount_minor": 1.5}, "amount_minor", "type"),
    ):
        with pytest.raises(RefusedError) as caught:
            client.score(payment("wrong", **fields))
        assert (caught.value.field, caught.value.code) == (field, code)
        assert "4111 1111" not in str(caught.value)


def test_many_with_some_refused_here_and_some_there(client: Client) -> None:
    rows = [
        payment("m0"),
        payment("m1", amount_minor=-1),
        payment("m2", amount_minor=None),
        payment("m3"),
        payment("m4", colour="red"),
    ]
    outcomes = list(client.score_many(iter(rows), batch=2))
    assert [each.transaction_id for each in outcomes] == ["m0", "m1", "m2", "m3", "m4"]
    refused = {each.transaction_id: each.code for each in outcomes if isinstance(each, Refusal)}
    assert refused == {"m1": "amount_negative", "m2": "missing", "m4": "field_unknown"}
    assert list(client.score_many([])) == []
    with pytest.raises(ConfigError, match="batch is 4097"):
        client.score_many([], batch=4_097)


def test_many_are_read_as_their_results_are_taken(client: Client) -> None:
    read = 0

    def endless() -> Iterator[dict[str, Any]]:
        nonlocal read
        while True:
            read += 1
            yield payment(f"e{read}")

    outcomes = client.score_many(endless(), batch=10)
    taken = [next(outcomes).transaction_id for _ in range(35)]
    assert taken == [f"e{number}" for number in range(1, 36)]
    assert read <= 50
    outcomes.close()  # type: ignore[attr-defined]  # a generator, which the signature does not promise


def test_threads_share_a_client(client: Client) -> None:
    names = [f"thread-{number}" for number in range(200)]
    with ThreadPoolExecutor(16) as pool:
        decided = list(pool.map(lambda name: client.score(payment(name)), names))
    assert [each.transaction_id for each in decided] == names


def test_asyncio_does_the_same(server: ScoringServer) -> None:
    async def rows() -> AsyncIterator[dict[str, Any]]:
        for number in range(25):
            yield payment(f"am{number}", amount_minor=-1 if number == 7 else 5)

    async def job() -> None:
        async with AsyncClient(server.address, timeout_seconds=20.0) as client:
            names = [f"a{number}" for number in range(100)]
            decided = await asyncio.gather(*(client.score(payment(name)) for name in names))
            assert [each.transaction_id for each in decided] == names
            assert (await client.score(payment("a0"))).repeated
            with pytest.raises(RefusedError) as caught:
                await client.score(payment("wrong", country="Germany"))
            assert caught.value.field == "country"
            outcomes = [each async for each in client.score_many(rows(), batch=10)]
            assert [each.transaction_id for each in outcomes] == [f"am{number}" for number in range(25)]
            assert [at for at, each in enumerate(outcomes) if isinstance(each, Refusal)] == [7]

    asyncio.run(job())


def test_a_lost_request_is_sent_again_and_a_lost_answer_asked_for_again(server: ScoringServer) -> None:
    with (
        proxied(server.address, "lose request", "lose answer") as proxy,
        Client(proxy.address, timeout_seconds=20.0) as client,
    ):
        decision = client.score(payment("lost"))
        # It was decided when its answer was lost; the third call got that answer.
        assert (decision.transaction_id, decision.repeated, proxy.calls) == ("lost", True, 3)


def test_without_retries_the_first_failure_counts(server: ScoringServer) -> None:
    with proxied(server.address, "lose request") as proxy, Client(proxy.address, retries=0) as client:
        with pytest.raises(NoAnswerError, match="the request was lost") as caught:
            client.score(payment("once"))
        assert (caught.value.status, proxy.calls) == ("UNAVAILABLE", 1)


def test_a_call_ends_at_its_deadline(server: ScoringServer) -> None:
    with (
        proxied(server.address, "hold", "hold") as proxy,
        Client(proxy.address, timeout_seconds=2.0) as client,
    ):
        begin = time.monotonic()
        with pytest.raises(NoAnswerError) as caught:
            client.score(payment("late"))
        assert caught.value.status == "DEADLINE_EXCEEDED"
        assert time.monotonic() - begin < 10.0
        with pytest.raises(NoAnswerError):
            client.score(payment("later"), timeout_seconds=0.3)
        # The service is told how long the caller waits; the wire rounds that up.
        assert 0.5 < proxy.deadlines[0] <= 2.1
        assert proxy.deadlines[1] <= 0.4


@pytest.mark.parametrize("listening", [True, False])
def test_no_answer_at_all_is_what_the_setting_says(listening: bool) -> None:
    with ExitStack() as stack:
        address = closed_port()
        if listening:
            mute = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            address = f"127.0.0.1:{mute.getsockname()[1]}"
        short = partial(Client, address, timeout_seconds=0.2, batch_timeout_seconds=0.2)
        rule = by_amount(500, below=Action.APPROVE, above=Action.BLOCK)
        client = stack.enter_context(short(on_no_answer=rule))
        cheap, dear = client.score(payment("cheap", amount_minor=499)), client.score(payment("dear"))
        assert [each.action for each in (cheap, dear)] == [Action.APPROVE, Action.BLOCK]
        assert cheap.no_answer is not None
        assert cheap.no_answer.status in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
        assert (cheap.answered, cheap.degraded) == (False, ("no_answer",))
        rows = [payment("n0"), payment("n1", amount_minor="x"), payment("n2", amount_minor=1)]
        outcomes = list(client.score_many(rows))
        assert [getattr(each, "action", None) for each in outcomes] == [Action.BLOCK, None, Action.APPROVE]
        raising = stack.enter_context(short(on_no_answer=NoAnswer.RAISE))
        with pytest.raises(NoAnswerError):
            raising.score(payment("raise"))
        with pytest.raises(NoAnswerError):
            list(raising.score_many(rows))


def test_many_go_on_when_the_server_starts_again(bundle: Path) -> None:
    second = ExitStack()
    started: list[ScoringServer] = []

    def start(port: int) -> None:
        started.append(second.enter_context(running(bundle, {"serve.port": port})))

    first = ExitStack()
    server = first.enter_context(running(bundle))
    port = int(server.address.rpartition(":")[2])
    starting = threading.Thread(target=start, args=(port,))

    def rows() -> Iterator[dict[str, Any]]:
        for number in range(60):
            if number == 30:
                first.close()
                starting.start()
            yield payment(f"r{number}")

    with second, Client(server.address, batch_timeout_seconds=60.0) as client:
        outcomes = list(client.score_many(rows(), batch=10))
        starting.join(20)
        assert started
        assert [each.transaction_id for each in outcomes] == [f"r{number}" for number in range(60)]
        assert all(isinstance(each, Decision) and each.answered for each in outcomes)


def test_tokens(bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    digest = hashlib.sha256(b"open sesame").hexdigest()
    file.write_text(f'[shop]\nsha256 = "{digest}"\ncalls_per_second = 0.01\n')
    with running(bundle, {"serve.tokens": str(file)}) as server:
        for token in (None, "open"):
            # Whatever is done without an answer, a wrong token is told.
            with (
                Client(server.address, token=token, on_no_answer=NoAnswer.REVIEW) as client,
                pytest.raises(AccessDeniedError) as denied,
            ):
                client.score(payment("t"), timeout_seconds=20.0)
            assert (denied.value.status, denied.value.reason) == ("UNAUTHENTICATED", "TOKEN_UNKNOWN")
        with Client(server.address, token="open sesame", timeout_seconds=20.0) as client:
            assert client.score(payment("u")).answered
            with pytest.raises(NoAnswerError) as caught:
                client.score(payment("v"))
            assert caught.value.reason == "RATE_EXCEEDED"
            assert caught.value.retry_seconds is not None
            assert 0 < caught.value.retry_seconds <= 100


def test_tls_with_client_certificates(bundle: Path, tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("scoring.example")
    files = {name: tmp_path / f"{name}.pem" for name in ("certificate", "key", "client_ca")}
    files["certificate"].write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    files["key"].write_bytes(issued.private_key_pem.bytes())
    authority.cert_pem.write_to_path(files["client_ca"])
    own = Tls(
        ca=files["client_ca"], certificate=files["certificate"], key=files["key"], name="scoring.example"
    )
    with running(bundle, {f"serve.tls_{name}": str(path) for name, path in files.items()}) as server:
        with Client(server.address, tls=own, timeout_seconds=20.0) as client:
            assert client.score(payment("tls")).answered
        for stranger in (Tls(ca=files["client_ca"], name="scoring.example"), None):
            with Client(server.address, tls=stranger, retries=0) as client, pytest.raises(NoAnswerError):
                client.score(payment("stranger"))


def test_another_service_at_the_address_is_told() -> None:
    with ThreadPoolExecutor(1) as pool:
        other = grpc.server(pool)
        port = other.add_insecure_port("127.0.0.1:0")
        other.start()
        with Client(f"127.0.0.1:{port}", timeout_seconds=20.0, on_no_answer=NoAnswer.REVIEW) as client:
            with pytest.raises(ScoringError) as caught:
                client.score(payment("other"))
            assert caught.value.status == "UNIMPLEMENTED"
        other.stop(0).wait(20)
