"""Fixtures for any test: real Kafka, PostgreSQL and Redis, started when the first test wants them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from service_stack import Fresh, started_stack

from fraudengine import services


@pytest.fixture(scope="session")
def stack() -> Iterator[services.Stack]:
    """Yield the running services of this session."""
    with started_stack() as running:
        yield running


@pytest.fixture(scope="session")
def _names(stack: services.Stack) -> Fresh:
    return Fresh(stack)


@pytest.fixture
def fresh(_names: Fresh) -> Iterator[Fresh]:
    """Yield a source of topics, groups and databases that no other test uses."""
    yield _names
    _names.drop_databases()
