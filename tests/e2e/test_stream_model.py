"""The model changes while the stream runs, at one place in the log; and the door for operators."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections import defaultdict
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from small_bundle import small_bundle
from stream_process import StreamUnderTest, eventually
from stream_topics import PacedLoad, Topics

from fraudengine.bundle import Bundle
from fraudengine.errors import StreamError
from fraudengine.training import BoosterOptions, ForestOptions


@pytest.fixture(scope="module")
def other_bundle(history: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return another small bundle, trained on the same history."""
    booster, forest = BoosterOptions(trees=8, depth=3), ForestOptions(trees=5, rows_per_tree=32)
    return small_bundle(history, tmp_path_factory.mktemp("other") / "model", booster, forest)


def test_models_take_turns_at_one_place_in_the_log(
    topics: Topics, bundle: Path, other_bundle: Path, history: pl.DataFrame
) -> None:
    first, second = (int(Bundle.load(path).hash[:16], 16) for path in (bundle, other_bundle))
    with topics.follow() as log:
        with topics.stream(bundle) as stream, PacedLoad(topics, history, 250) as load:
            log.await_count(300, 60)
            url = stream.client().url
            assert _cli("model", "activate", str(other_bundle), "--url", url)["bundle"] == str(other_bundle)
            _await_model(stream, log.read() + 300, log)
            assert _cli("model", "rollback", "--url", url)["bundle"] == str(bundle)
            _await_model(stream, log.read() + 300, log)
            stream.client().activate(other_bundle)
            log.await_count(log.read() + 300, 60)
            sent = load.stop()
            log.await_count(sent, 60)
            stream.kill()
        # A restart with the same bundle goes on with the one that was activated last.
        with topics.stream(bundle) as stream:
            sent += topics.send(history[:300], labels=False)
            log.await_count(sent, 60)
            assert stream.status()["bundle"] == str(other_bundle)
            assert stream.stop() == 0
    models = [record.model for _, record in log.valid]
    turns = [model for at, model in enumerate(models) if at == 0 or model != models[at - 1]]
    assert turns == [first, second, first, second]
    chunks = defaultdict(set)
    for _, record in log.valid:
        chunks[record.decided_time_micros].add(record.model)
    assert all(len(each) == 1 for each in chunks.values()), "never two models in one chunk"


def test_a_refused_bundle_changes_nothing(topics: Topics, bundle: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(bundle, damaged)
    ensemble = damaged / "ensemble.bin"
    content = bytearray(ensemble.read_bytes())
    content[len(content) // 2] ^= 1
    ensemble.write_bytes(content)
    with topics.stream(bundle) as stream:
        stream.await_status(lambda told: told["phase"] == "running", 60, "that it runs")
        client = stream.client()
        before = client.status()["model"]
        for body, status in [
            ({"bundle": str(damaged)}, 422),
            ({"bundle": str(tmp_path / "nowhere")}, 422),
            ({"bundle": 3, "more": []}, 422),
            ({}, 400),
            ([], 400),
        ]:
            assert _posted(f"{client.url}/model", body) == status
        with pytest.raises(StreamError, match="no earlier model"):
            client.roll_back()
        assert _posted(f"{client.url}/nothing", {}) == 404
        assert client.status()["model"] == before == Bundle.load(bundle).hash[:16]
        assert stream.stop() == 0


def test_the_door_tells_how_the_stream_stands(topics: Topics, bundle: Path, history: pl.DataFrame) -> None:
    sent = topics.send(history[:2_000])
    topics.send_broken(3)
    with topics.stream(bundle, state__snapshot_interval_seconds=0.5) as stream:
        stream.await_status(
            lambda told: told["delivered"] == sent and told["dead_letters"] == 3, 60, "everything decided"
        )
        url = stream.client().url
        # Not every decision has them counted anew.
        eventually(lambda: _metrics(url)["fraudengine_entities"]['entity="customer"'] > 0, 30, "sizes")
        assert _got(f"{url}/healthz") == (200, {"alive": True})
        assert _got(f"{url}/readyz") == (200, {"ready": True, "phase": "running"})
        families = _metrics(url)
        assert sum(families["fraudengine_decisions_total"].values()) == sent
        assert families["fraudengine_dead_letters_total"]['reason="malformed"'] == 3
        assert families["fraudengine_entities"]['entity="customer"'] > 0
        with topics.stream(bundle, "second") as second:
            second.client()
            second.await_status(lambda told: told["standby_behind"] == 0, 30, "that it has the state")
            told = {"ready": True, "phase": "standing_by", "behind": 0}
            assert _got(f"{second.client().url}/readyz") == (200, told)
        assert stream.stop() == 0


_LINE = re.compile(r'^([a-z_]+)(?:\{((?:[a-z_]+="[^"\\]*",?)+)\})? (NaN|[-+]?(?:[0-9.]+(?:e[-+]?\d+)?|Inf))$')


def parsed(page: str) -> dict[str, dict[str, float]]:
    """Return the samples by name and labels; what the text format of Prometheus forbids is an error."""
    kinds: dict[str, str] = {}
    samples: dict[str, dict[str, float]] = defaultdict(dict)
    assert page.endswith("\n")
    for line in page.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in kinds, f"{name} is declared twice"
            assert kind in {"counter", "gauge", "histogram"}
            assert (kind == "counter") == name.endswith("_total"), name
            kinds[name] = kind
        elif not line.startswith("# HELP "):
            match = _LINE.match(line)
            assert match is not None, line
            name, labels, value = match.groups()
            family = re.sub("_(bucket|sum|count)$", "", name)
            assert (family if kinds.get(family) == "histogram" else name) in kinds, f"{name} is not declared"
            assert (labels or "") not in samples[name], f"twice: {line}"
            samples[name][labels or ""] = float(value)
    for name, kind in kinds.items():
        if kind == "histogram":
            for labels, count in samples[f"{name}_count"].items():
                inside = [value for key, value in samples[f"{name}_bucket"].items() if key.startswith(labels)]
                assert inside == sorted(inside), "buckets are cumulative"
                assert inside[-1] == count
                assert math.isfinite(samples[f"{name}_sum"][labels])
    return samples


def _await_model(stream: StreamUnderTest, count: int, log: Any) -> None:
    log.await_count(count, 60)
    assert stream.status()["model"] == f"{log.valid[-1][1].model:016x}"


def _cli(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-c", "from fraudengine.cli import main; main()", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _metrics(url: str) -> dict[str, dict[str, float]]:
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return parsed(answer.read().decode())


def _got(url: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def _posted(url: str, body: object) -> int:
    request = urllib.request.Request(url, data=json.dumps(body).encode())
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            told = json.load(error)
            return error.code if told["error"] else 0
