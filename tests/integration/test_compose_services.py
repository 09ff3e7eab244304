"""Each of our services of docker-compose.yml as it stands there, run on this machine without containers.

The commands, the variables and the health checks are those of the file; only addresses, ports and folders are
mapped. All panels of the Grafana dashboard are then held against the pages of metrics that are really served.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psycopg
import pytest
from compose_file import ROOT, Outside, composed
from prometheus_client.parser import text_string_to_metric_families
from service_stack import started_stack
from small_bundle import scoring_bundle

from fraudengine.services import ports
from fraudengine.services.processes import wait_until

DEADLINE_SECONDS = 120.0
PASSWORD = "not-used-outside"
GIVEN = {
    "POSTGRES_PASSWORD": PASSWORD,
    "DASHBOARD_PASSWORD": "long enough",
    "GRAFANA_PASSWORD": "z",
    "GENERATOR_CUSTOMERS": "400",
    "GENERATOR_TPS": "50",
    "GENERATOR_SKIP_DAYS": "2",
    "GENERATOR_WARM_DAYS": "3",
}
PLACES = ("stream:9464", "serve:9464", "serve:50051", "alerts:9464", "dashboard:9464", "dashboard:8501")
WATCHED = ("stream", "serve", "alerts", "dashboard")
WITH_METRICS = ("stream", "serve", "alerts")
FUNCTIONS = {"sum", "rate", "histogram_quantile", "by", "le"}


@dataclass
class Whole:
    """All services while they run."""

    outside: Outside
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def said(self, name: str) -> str:
        """Return what a service has printed."""
        return (self.outside.folder / f"{name}.log").read_text("utf-8", errors="replace")

    def page(self, name: str) -> str:
        """Return a service's page of metrics."""
        port = self.outside.ports[f"{name}:9464"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
            text: str = answer.read().decode()
        return text

    def stored(self) -> int:
        """Return how many transactions PostgreSQL has."""
        with psycopg.connect(self.outside.stack.postgres_url) as connection:
            row = connection.execute("SELECT count(*) FROM transactions").fetchone()
        return int(row[0]) if row else 0


@pytest.fixture(scope="module")
def whole() -> Iterator[Whole]:
    """Start all of them in the order of the file, each when those it depends on are healthy."""
    with tempfile.TemporaryDirectory(prefix="fraudengine-compose-") as made, started_stack() as stack:
        folder = Path(made)
        scoring_bundle(folder)
        (folder / "models").mkdir()
        shutil.move(folder / "model", folder / "models" / "active")
        free = ports.choose(dict.fromkeys(PLACES, 0), {})
        running = Whole(Outside(composed(GIVEN), stack, folder, free, PASSWORD))
        try:
            for name in ("stream", "serve", "alerts", "dashboard", "generator"):
                running.processes[name] = running.outside.start(name)
                if name in WATCHED:
                    assert wait_until(partial(healthy, running, name), DEADLINE_SECONDS), running.said(name)
            yield running
        finally:
            for process in running.processes.values():
                process.kill()
                process.wait()


def healthy(running: Whole, name: str) -> bool:
    assert running.processes[name].poll() is None, running.said(name)
    return running.outside.health(name).returncode == 0


def test_traffic_is_generated_decided_and_stored(whole: Whole) -> None:
    # More than the warm-up: the steady part goes through too.
    assert wait_until(lambda: whole.stored() > 1_200, DEADLINE_SECONDS), whole.said("generator")
    assert whole.processes["generator"].poll() is None


def test_every_panel_asks_for_metrics_and_labels_that_exist(whole: Whole) -> None:
    names: set[str] = set()
    labels: dict[str, set[str]] = {}
    for service in WITH_METRICS:
        for family in text_string_to_metric_families(whole.page(service)):
            total = [f"{family.name}_total"] if family.type == "counter" else []
            parts = [f"{family.name}_{part}" for part in ("bucket", "count", "sum")]
            names.update([family.name, *total, *(parts if family.type == "histogram" else [])])
            for sample in family.samples:
                labels.setdefault(sample.name, set()).update(sample.labels)
    board = json.loads((ROOT / "docker/grafana/dashboards/fraudengine.json").read_text("utf-8"))
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    for expression in expressions:
        assert expression.count("(") == expression.count(")"), expression
        asked = re.findall(r"fraudengine_\w+", expression)
        assert asked, expression
        assert set(asked) <= names, expression
        grouped = re.findall(r"by \(([^)]*)\)", expression)
        wanted = {label.strip() for group in grouped for label in group.split(",")}
        for name in asked:
            # A counter without a count yet has no labels to compare with.
            assert wanted <= labels.get(name, wanted), (expression, labels[name])


def test_nothing_was_written_outside_the_volumes(whole: Whole) -> None:
    assert not (whole.outside.folder / "nonexistent").exists()
    declared = set(whole.outside.file["volumes"]) | {"models"}
    made = {path.name for path in whole.outside.folder.iterdir() if path.is_dir()}
    assert made <= declared


def test_each_ends_in_order_when_it_is_told_to(whole: Whole) -> None:
    for name in reversed(whole.processes):
        process = whole.processes[name]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, whole.said(name)
