"""The commands for spark-submit, and what is refused. `tests/e2e/test_spark_cluster.py` runs them."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from fraudengine.cli import main
from fraudengine.cli.exit_codes import ExitCode
from fraudengine.services.jars import locked_jars

Captured = pytest.CaptureFixture[str]


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["spark", "submit-command", "model", *map(str, arguments)])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def printed(captured: Captured, *arguments: object) -> list[str]:
    assert run(*arguments) == ExitCode.OK
    return shlex.split(captured.readouterr().out)


def test_the_job_brings_the_locked_connector_and_passes_settings_on(capsys: Captured) -> None:
    setting = "spark.checkpoint=/data/a b"
    words = printed(capsys, "--master", "spark://head:7077", "--drain", "--set", setting)
    assert words[:3] == ["spark-submit", "--master", "spark://head:7077"]
    packages = words[words.index("--packages") + 1]
    assert packages == ",".join(f"{jar.group}:{jar.artifact}:{jar.version}" for jar in locked_jars("spark"))
    assert "--jars" not in words
    assert words[-4:] == ["model", "--drain", "--set", setting]
    entry = Path(words[-5])
    assert entry.is_file()
    assert entry.name == "main.py"


def test_a_replay_needs_no_connector(capsys: Captured) -> None:
    words = printed(capsys, "--replay", "payments/", "--out", "decisions", "--label-delay", "3d")
    assert not {"--packages", "--jars"} & set(words)
    replay = ["replay", "model", "payments/", "--out", "decisions", "--label-delay", "3d"]
    assert words[-len(replay) :] == replay


def test_kubernetes_gets_image_and_entry_of_the_image(capsys: Captured) -> None:
    words = printed(capsys, "--master", "k8s://https://cluster:6443", "--image", "registry/ours:1")
    assert words[words.index("--deploy-mode") + 1] == "cluster"
    assert "spark.kubernetes.container.image=registry/ours:1" in words
    assert words[-2:] == ["local:///opt/fraudengine/spark_main.py", "model"]


@pytest.fixture
def written_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of settings of the working folder."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "fraudengine.toml"
    file.write_text('[kafka]\nbrokers = "kafka-1:9092"\n[spark]\npartitions = 77\n')
    return file


@pytest.mark.parametrize("given", [[], ["--config", "fraudengine.toml"]])
def test_the_job_reads_the_file_of_settings_wherever_it_starts(
    given: list[str], written_settings: Path, capsys: Captured
) -> None:
    words = printed(capsys, "--master", "spark://head:7077", "--set", "kafka.group=a", *given)
    assert words[-5:] == ["model", "--set", "kafka.group=a", "--config", str(written_settings)]
    assert "spark.sql.shuffle.partitions=77" in words
    assert "--files" not in words


def test_kubernetes_brings_the_file_of_settings_to_the_driver(
    written_settings: Path, capsys: Captured
) -> None:
    words = printed(capsys, "--master", "k8s://https://cluster:6443")
    assert words[words.index("--files") + 1] == str(written_settings)
    assert words[-3:] == ["model", "--config", written_settings.name]


def test_jars_of_a_folder_must_be_the_locked_ones(tmp_path: Path, capsys: Captured) -> None:
    for jar in locked_jars("spark"):
        (tmp_path / jar.name).write_bytes(b"another one")
    assert run("--set", f"spark.jars={tmp_path}") == ExitCode.USAGE
    error = capsys.readouterr().err
    first = locked_jars("spark")[0]
    assert first.name in error
    assert first.sha256 in error


@pytest.mark.parametrize("given", [("--replay", "payments/"), ("--out", "decisions")])
def test_history_and_folder_of_a_replay_come_together(given: tuple[str, str], capsys: Captured) -> None:
    assert run(*given) == ExitCode.USAGE
    assert "--replay and --out come together" in capsys.readouterr().err


def test_a_delay_that_is_none_is_refused_before_it_is_submitted(capsys: Captured) -> None:
    assert run("--replay", "payments/", "--out", "decisions", "--label-delay", "soon") == ExitCode.USAGE
    assert "soon" in capsys.readouterr().err
