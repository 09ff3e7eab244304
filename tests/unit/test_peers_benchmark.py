"""The benchmarks against peers: checks of equality can fail, reports say losses first. No peer is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

if TYPE_CHECKING:
    from report import Run

PEERS = Path(__file__).resolve().parents[2] / "benchmarks" / "peers"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the scripts importable as they are when `run.py` is started."""
    for folder in (PEERS.parent, PEERS):
        monkeypatch.syspath_prepend(str(folder))


def test_equal_columns_tell_how_far_apart_they_are() -> None:
    from equality import check_equal

    assert check_equal("x", [1.0, float("nan")], [1.0 + 1e-7, float("nan")], tolerance=1e-6) == pytest.approx(
        1e-7, rel=1e-3
    )


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        ([1.0, 2.1, 3.0], r"peer, sum: 1 of 3 rows differ, first row 1: .*2\.1.* instead of .*2\.0"),
        ([1.0, float("nan"), 3.0], "1 of 3 rows differ, first row 1"),
        ([1.0, 2.0], "2 rows, the engine has 3"),
        ([1.1, 2.1, 3.1], "3 of 3 rows differ"),
    ],
)
def test_a_peer_that_computes_something_else_is_refused(theirs: list[float], message: str) -> None:
    from equality import UnequalError, check_equal

    with pytest.raises(UnequalError, match=message):
        check_equal("peer, sum", [1.0, 2.0, 3.0], theirs, tolerance=1e-3)


def test_no_rows_are_no_agreement() -> None:
    from equality import UnequalError, check_equal

    with pytest.raises(UnequalError, match="0 rows"):
        check_equal("peer", [], [], tolerance=1.0)


def test_only_as_many_rows_as_allowed_may_differ() -> None:
    from equality import UnequalError, check_equal

    ours = np.zeros(10)
    theirs = ours.copy()
    theirs[:2] = 5.0
    assert check_equal("peer", ours, theirs, tolerance=1e-3, differing_max=2) == 0.0
    with pytest.raises(UnequalError):
        check_equal("peer", ours, theirs, tolerance=1e-3, differing_max=1)


def a_run(peer_us: float) -> Run:
    from report import Run
    from turns import Figure

    rounds = [{"units": 10, "wall": us * 1e-5, "cpu": us * 2e-5} for us in (1.0, 9.0, 2.0)]
    figures = [Figure("batch <1>", "peer", peer_us, peer_us), Figure.of("batch <1>", "fraudengine", rounds)]
    machine = {"processor": "some", "cores": 2, "load_average": 0.1, "commit": "abc", "python": "3.11"}
    return Run(
        *("inference", "python run.py", "row", 3, machine, {"peer": {"thing": "1.2"}}, figures, ["equal"]),
        left_out={"other": "cannot | read"},
        aims=[("batch", 3.0, peer_us / 2.0)],
    )


def test_a_report_says_losses_before_the_table() -> None:
    from report import markdown

    text = markdown(a_run(1.0))
    assert text.index("peer needs 0.50 of our wall time") < text.index(
        "| fraudengine | 2.000 | 4.000 | 1.00 | 1.00 |"
    )
    assert "peer needs 0.25 of our processor time" in text
    assert "Short of an aim: batch: 0.5 times, aimed at 3." in text
    assert text.index("| fraudengine |") < text.index("| peer | 1.000 | 1.000 | 0.50 | 0.25 |")
    assert "| other | cannot / read |" in text
    assert "peer: thing 1.2" in text
    assert "`python run.py`" in text


def test_a_report_without_losses_says_so_and_names_the_aims_held() -> None:
    from report import losses, markdown

    run = a_run(8.0)
    assert losses(run) == []
    assert "Held: batch: 4.0 times, aimed at 3." in markdown(run)


def test_the_plot_has_a_bar_for_each_contestant_and_is_well_formed() -> None:
    from xml.etree import ElementTree

    from report import svg

    drawn = ElementTree.fromstring(svg(a_run(1000.0)))
    bars = {
        bar.get("fill"): float(bar.get("width", 0)) for bar in drawn.iter("{http://www.w3.org/2000/svg}rect")
    }
    assert len(bars) == 2
    assert bars["#8a94a6"] > 3 * bars["#1b7f5c"]


def test_a_run_leaves_table_plot_and_figures(tmp_path: Path) -> None:
    from run import write

    write(a_run(3.0), tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"inference.md", "inference.svg", "inference.json"}


def test_a_contestant_answers_in_its_own_process_and_its_failure_is_told(tmp_path: Path) -> None:
    from turns import Contestant, PeerError, take_turns

    script = tmp_path / "peer.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(PEERS)!r})\n"
        "import calls\n"
        "def run(count):\n"
        "    print('noise of a library')\n"
        "    return calls.timed(lambda: count // (count != 13))\n"
        "calls.serve({'run': run})\n",
        encoding="utf-8",
    )
    contestant = Contestant("peer", Path(sys.executable), str(script)).ready()
    try:
        (figure,) = take_turns({"case": [(contestant, {"count": 100})]}, rounds=3)
        assert (figure.case, figure.contestant) == ("case", "peer")
        assert figure.wall_us > 0
        with pytest.raises(PeerError, match="ZeroDivisionError"):
            contestant.call("run", count=13)
    finally:
        contestant.close()


def test_the_processor_time_of_a_tree_counts_children() -> None:
    from calls import tree_seconds

    busy = "import time\nwhile time.process_time() < 0.2: pass\nprint('done', flush=True); input()"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}], check=False)"
    command = [sys.executable, "-c", outer]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        assert tree_seconds(process.pid) >= 0.15
        process.communicate("\n")


def test_the_windows_of_the_peers_are_those_of_the_engine() -> None:
    from fraudengine import features
    from fraudengine.datasets.synthetic import SyntheticConfig, generate
    from windows_python import COLUMNS, CustomerWindows

    history = generate(SyntheticConfig(customers=20, merchants=50, days=12))
    matrix = features.build(history)
    customers: dict[str, CustomerWindows] = {}
    columns = ("customer_id", pl.col("event_time").dt.epoch("us"), "amount_minor", "merchant_id")
    rows = []
    for customer, *event in history.select(*columns).iter_rows():
        rows.append(customers.setdefault(customer, CustomerWindows()).update(*event))
    ours = matrix.values[:, [matrix.names.index(name) for name in COLUMNS]]
    np.testing.assert_allclose(np.array(rows), ours, rtol=1e-5)


def test_every_peer_has_its_versions_pinned() -> None:
    from environments import REQUIREMENTS, pins

    wanted = sorted(REQUIREMENTS.glob("*.in"))
    assert len(wanted) > 8
    for file in wanted:
        text = file.with_suffix(".txt").read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if line and not line.startswith(("#", " "))]
        assert len(pins(file.stem)) == len(lines), file.stem


def test_the_whole_job_of_a_peer_scores_what_the_engine_scores(tmp_path: Path) -> None:
    import orjson

    from fraudengine.bundle import Bundle
    from topic_job import prepare
    from windows_python import CustomerWindows
    from work_job import Model

    events = [orjson.loads(record) for _, _, record in prepare(tmp_path, 1_000)]
    customers: dict[str, CustomerWindows] = {}
    rows = [
        customers.setdefault(each["customer_id"], CustomerWindows()).update(
            each["event_time"], each["amount_minor"], each["merchant_id"]
        )
        for each in events
    ]
    time = pl.from_epoch("event_time", "us").dt.replace_time_zone("UTC")
    ours = Bundle.load(tmp_path / "bundle").engine().process(pl.DataFrame(events).with_columns(time)).score
    np.testing.assert_allclose(Model(str(tmp_path)).score(rows), ours, rtol=1e-5)
    assert len(set(ours.tolist())) > 50


def test_an_answer_is_read_and_too_few_are_an_error() -> None:
    from fraudengine.wire.log_pb2 import DecisionRecord
    from job_turn import collect
    from turns import PeerError

    record = DecisionRecord(score=0.5)
    record.transaction.transaction_id = "a"
    answers = [
        record.SerializeToString(),
        DecisionRecord().SerializeToString(),
        b'{"transaction_id":"b","score":0.25}',
    ]
    found: dict[str, float] = {}
    collect(iter(answers), found, 2)
    assert found == {"a": 0.5, "b": 0.25}
    with pytest.raises(PeerError, match="2 of 3 decisions"):
        collect(iter(answers), found, 3)
