"""docker-compose.yml and what is mounted into it, as far as that can be checked without containers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from compose_file import COMPOSE, ROOT, composed
from ruamel.yaml import YAML

from fraudengine.config import load

PASSWORDS = {"POSTGRES_PASSWORD": "x", "DASHBOARD_PASSWORD": "y", "GRAFANA_PASSWORD": "z"}
OURS = ("stream", "serve", "alerts", "dashboard", "generator")
UPSTREAM = ("kafka", "postgres", "redis", "prometheus", "grafana")
PROVISIONING = ROOT / "docker/grafana/provisioning"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = composed(PASSWORDS)["services"]
    return found


def yaml(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    return found


def test_it_keeps_to_the_compose_specification() -> None:
    module = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*module, str(COMPOSE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_compose_itself_takes_it() -> None:
    client = shutil.which("docker")
    if client is None or subprocess.run([client, "compose", "version"], capture_output=True).returncode:
        pytest.skip("needs docker with its compose plugin")
    command = [client, "compose", "--file", str(COMPOSE), "--profile", "demo", "config", "--quiet"]
    done = subprocess.run(command, env=PASSWORDS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_whole_is_there(services: dict[str, Any]) -> None:
    assert set(services) == {*OURS, *UPSTREAM}


@pytest.mark.parametrize("name", OURS)
def test_our_variables_are_settings(
    services: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in services[name].get("environment", {}).items():
        monkeypatch.setenv(variable, value)
    settings = load()
    if name != "generator":
        assert settings.embedded_wanted() == ()
        assert settings.kafka.brokers == "kafka:19092"


def test_passwords_must_be_given() -> None:
    for name in PASSWORDS:
        with pytest.raises(AssertionError, match=name):
            composed({key: value for key, value in PASSWORDS.items() if key != name})


def test_ports_are_published_on_this_machine_only(services: dict[str, Any]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert len(published) == len(set(published)) == 8
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_volumes_mounts_and_dependencies_exist(services: dict[str, Any]) -> None:
    declared = set(yaml(COMPOSE)["volumes"])
    for service in services.values():
        sources = [volume.split(":")[0] for volume in service.get("volumes", [])]
        assert {name for name in sources if not name.startswith(("./", "/"))} <= declared
        mounted = [ROOT / name for name in sources if name.startswith("./docker/")]
        assert all(path.exists() for path in mounted)
        for name, condition in service.get("depends_on", {}).items():
            assert condition == {"condition": "service_healthy"}
            assert "test" in services[name]["healthcheck"]


def test_every_container_is_bounded_watched_and_not_root(services: dict[str, Any]) -> None:
    for name, service in services.items():
        limits = service["deploy"]["resources"]["limits"]
        assert set(limits) == {"cpus", "memory"}, name
        assert "healthcheck" in service, name
        if name in OURS:
            hardened = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}
            assert {key: service[key] for key in hardened} == hardened, name
        else:
            assert service["user"] not in ("root", "0"), name


def test_images_have_exact_versions(services: dict[str, Any]) -> None:
    for name in UPSTREAM:
        assert re.search(r":v?\d+\.\d+\.\d+(-\w+)?$|:18\.1-bookworm$", services[name]["image"]), name
    assert {services[name]["image"] for name in OURS} == {"fraudengine:local"}


def test_prometheus_reads_the_parts_that_have_metrics(services: dict[str, Any]) -> None:
    (job,) = yaml(ROOT / "docker/prometheus.yml")["scrape_configs"]
    (group,) = job["static_configs"]
    for target in group["targets"]:
        name, port = target.split(":")
        assert services[name]["environment"]["FRAUDENGINE_HTTP__PORT"] == port


def test_grafana_finds_its_data_and_its_dashboard(services: dict[str, Any]) -> None:
    (source,) = yaml(PROVISIONING / "datasources/prometheus.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml(PROVISIONING / "dashboards/fraudengine.yml")["providers"]
    mounts = dict(volume.split(":")[:2] for volume in services["grafana"]["volumes"])
    folder = next(ROOT / host for host, inside in mounts.items() if inside == provider["options"]["path"])
    files = list(folder.glob("*.json"))
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert [Path(home).name] == [file.name for file in files]
    board = json.loads(files[0].read_text(encoding="utf-8"))
    identifiers = [panel["id"] for panel in board["panels"]]
    assert len(identifiers) == len(set(identifiers)) > 15
    for panel in board["panels"]:
        assert panel["targets"], panel["title"]
        for each in (panel, *panel["targets"]):
            assert each["datasource"] == {"type": "prometheus", "uid": source["uid"]}
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
