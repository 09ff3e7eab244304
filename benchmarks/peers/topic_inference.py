"""Inference: the same trained booster and forest, scored by the engine and by what a user would pick instead.

200 trees of depth 6 and 100 isolation trees over 60 features, 20,000 distinct rows with 15% missing values,
one thread each. Margins of the booster and anomalies of the forest must be the engine's before anything is
timed. `ensemble` is both in sequence, the forest's anomaly being the booster's last column.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import treelite

from environments import pins, python
from equality import check_equal
from fraudengine._native import Ensemble
from fraudengine.training.export import export_ensemble
from inference import train
from machine import facts
from report import Run
from turns import Contestant, PeerError, take_turns

if TYPE_CHECKING:
    import argparse

HERE = Path(__file__).parent
ROWS, FEATURES, SAMPLES = 20_000, 60, 256
BATCHES = (1, 64, 4096)
PEERS = {
    "scikit-learn": "XGBoost inplace_predict, scikit-learn",
    "tl2cgen": "tl2cgen Predictor",
    "treelite": "treelite GTIL",
    "onnxruntime": "ONNX Runtime",
    "onedal": "oneDAL model builder",
    "lleaves": "lleaves",
    "ydf": "YDF",
}
# Said with what the peer itself says when it is given the model.
WHY = {
    "lleaves": "reads models of LightGBM only",
    "YDF": "reads its own models, scikit-learn's and those of TensorFlow Decision Forests",
}
SHOWN = ("xgboost-cpu", "scikit-learn", "tl2cgen", "treelite", "onnxruntime", "onnxmltools", "skl2onnx")
SHOWN += ("scikit-learn-intelex", "daal", "lleaves", "ydf", "numpy")
# oneDAL and ONNX Runtime add float32 leaves in another order and answer with probabilities in float32.
MARGIN_TOLERANCE, ANOMALY_TOLERANCE = 1e-3, 1e-5
# An anomaly that is rounded otherwise may fall on the other side of a split.
ENSEMBLE_DIFFERING_MAX = ROWS // 1000


def prepare(folder: Path) -> None:
    """Train once; write the models in every format, and the rows."""
    if (folder / "rows.npz").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    models = train(FEATURES, SAMPLES)
    models.booster.save_model(folder / "booster.ubj")
    models.booster.save_model(folder / "booster.json")
    joblib.dump(models.forest, folder / "forest.joblib")
    treelite.frontend.from_xgboost(models.booster).serialize(folder / "booster.treelite")
    treelite.sklearn.import_model(models.forest).serialize(folder / "forest.treelite")
    files = {
        "ensemble": (models.booster, models.forest, FEATURES),
        "booster": (models.booster, None, FEATURES + 1),
        "forest": (None, models.forest, FEATURES),
    }
    for name, (booster, forest, width) in files.items():
        (folder / f"{name}.bin").write_bytes(export_ensemble(booster, forest, models.fill, width))
    np.savez(folder / "rows.npz", both=models.both[:ROWS], filled=models.filled[:ROWS])


def compare(engine: Contestant, peer: Contestant, what: str) -> str:
    """Compare what a peer scores with the engine's; return words for the report."""
    ours, theirs = (np.load(each.call("results", what=what)) for each in (engine, peer))
    tolerance = ANOMALY_TOLERANCE if what == "forest" else MARGIN_TOLERANCE
    allowed = ENSEMBLE_DIFFERING_MAX if what == "ensemble" else 0
    apart = check_equal(f"{peer.name}, {what}", ours, theirs, tolerance=tolerance, differing_max=allowed)
    return f"{peer.name}, {what}: at most {apart:.1e} apart"


def contestants(folder: Path, only: list[str] | None) -> tuple[dict[Contestant, list[str]], dict[str, str]]:
    """Start everybody; return what each can score, and who cannot take part and why."""
    able: dict[Contestant, list[str]] = {}
    left_out: dict[str, str] = {}
    worker = str(HERE / "work_inference.py")
    names = {name: words for name, words in PEERS.items() if not only or name in only}
    wanted = [("fraudengine", "engine", Path(sys.executable))]
    wanted += [(words, name, python(name)) for name, words in names.items()]
    if "tl2cgen" in names:
        wanted.append(("tl2cgen's C code, called by Rust", "compiled", Path(sys.executable)))
    for words, name, interpreter in wanted:
        contestant = Contestant(words, interpreter, worker, name, str(folder)).ready()
        try:
            able[contestant] = contestant.call("load")
        except PeerError as error:
            why = " ".join(str(error).split())[:160]
            left_out[words] = f"{WHY[words]}: {why}" if words in WHY else why
            contestant.close()
    return able, left_out


def aims(figures: list[Any]) -> list[tuple[str, float, float]]:
    """Return what issue and measurements ask of the ratios."""
    wall = {(each.case, each.contestant): each.wall_us for each in figures}

    def ratio(case: str, peers: list[str]) -> float:
        theirs = [wall[case, peer] for peer in peers if (case, peer) in wall]
        return min(theirs) / wall[case, "fraudengine"] if theirs else float("nan")

    rivals = [words for name, words in PEERS.items() if name not in ("tl2cgen", "treelite")]
    asked = [
        ("ensemble, batch 4096, tl2cgen Predictor", 12.0, ratio("ensemble, batch 4096", [PEERS["tl2cgen"]])),
        ("booster, batch 4096, best of the others", 3.5, ratio("booster, batch 4096", rivals)),
        ("ensemble, batch 1, tl2cgen Predictor", 1.0, ratio("ensemble, batch 1", [PEERS["tl2cgen"]])),
    ]
    return [each for each in asked if each[2] == each[2]]


def notes(backend: str) -> list[str]:
    """Return what has to be said about the engine's backend on this processor."""
    told = f"The engine scores with its backend `{backend}`, the fastest that this processor runs"
    return [
        f"{told}." if backend == "avx512" else f"{told}: there is no AVX-512, for which the aims were set."
    ]


def measure(options: argparse.Namespace) -> Run | None:
    """Prepare, compare, take turns."""
    folder = options.work / "inference"
    prepare(folder)
    machine = facts("xgboost-cpu", "numpy")
    able, left_out = contestants(folder, options.only)
    try:
        engine = next(iter(able))
        equal = [compare(engine, peer, what) for peer in able if peer is not engine for what in able[peer]]
        if options.prepare:
            return None
        cases = {
            f"{what}, batch {batch}": [
                (each, {"what": what, "batch": batch}) for each, can in able.items() if what in can
            ]
            for what in ("ensemble", "booster", "forest")
            for batch in BATCHES
        }
        figures = take_turns(cases, options.rounds)
    finally:
        for each in able:
            each.close()
    versions = {
        name: {package: version for package, version in pins(name).items() if package in SHOWN}
        for name in PEERS
    }
    command = f"python benchmarks/peers/run.py inference --rounds {options.rounds}"
    fastest = Ensemble((folder / "ensemble.bin").read_bytes()).backends()[0]
    return Run(
        "inference",
        command,
        "row",
        options.rounds,
        machine,
        versions,
        figures,
        equal,
        left_out,
        notes(fastest),
        aims(figures),
    )
