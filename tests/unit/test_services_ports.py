"""Ports: the configured one or a refusal, the remembered one while it is free, otherwise one picked now."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from fraudengine.errors import ServiceError
from fraudengine.services.ports import choose, listening


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def test_free_ones_are_different_and_outside_the_range_of_outgoing_connections() -> None:
    names = [f"service{number}" for number in range(50)]
    chosen = choose(dict.fromkeys(names, 0), {})
    assert len(set(chosen.values())) == len(names)
    assert all(15_000 <= port < 32_000 for port in chosen.values())


def test_a_remembered_one_is_kept_while_it_is_free(taken: int) -> None:
    first = choose({"kafka": 0}, {})
    assert choose({"kafka": 0}, first) == first
    assert choose({"kafka": 0}, {"kafka": taken}) != {"kafka": taken}


def test_a_configured_one_is_taken_or_refused_but_never_changed(taken: int) -> None:
    free = choose({"redis": 0}, {})["redis"]
    assert choose({"redis": free, "kafka": 0}, {"kafka": free})["redis"] == free
    with pytest.raises(ServiceError, match=rf"port {taken} is taken .* set embedded\.redis_port"):
        choose({"redis": taken}, {})


def test_listening_tells_whether_somebody_accepts(taken: int) -> None:
    assert listening(taken)
    assert not listening(choose({"redis": 0}, {})["redis"])
