"""For every test: real Kafka, PostgreSQL and Redis, started when the first one wants them; no deadlines.

Hypothesis by default fails an example that takes 200 ms: on a busy machine that tells nothing about the code.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from service_stack import Fresh, started_stack

from fraudengine import services

hypothesis.settings.register_profile("fraudengine", deadline=None)
hypothesis.settings.load_profile("fraudengine")


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


@pytest.fixture
def services_folder() -> Iterator[Path]:
    """Yield the path of a folder for services of the test's own; whatever still runs in it is stopped."""
    with tempfile.TemporaryDirectory(prefix="fraudengine-services-") as made:
        Path(made).chmod(0o711)
        path = Path(made) / "data"
        try:
            yield path
        finally:
            services.down(path)


@pytest.fixture(params=["grpcio", "native"])
def transport(request: pytest.FixtureRequest) -> str:
    """Return the transport by which a test calls the scoring service; each such test runs by both."""
    name: str = request.param
    return name
