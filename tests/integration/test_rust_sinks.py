"""The Rust tests of the sinks, run against the services of this session."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fraudengine import services

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["sinks", "sinks_redis"])
def test_sinks(name: str, stack: services.Stack) -> None:
    cargo = shutil.which("cargo")
    assert cargo is not None, "the tests of the native code need cargo"
    done = subprocess.run(
        [cargo, "test", "--locked", "-p", "fraudengine-runtime", "--test", name, "--", "--ignored"],
        cwd=ROOT,
        env={
            **os.environ,
            "FRAUDENGINE_TEST_KAFKA": stack.kafka_brokers,
            "FRAUDENGINE_TEST_POSTGRES": stack.postgres_url,
            "FRAUDENGINE_TEST_REDIS": stack.redis_url,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]
