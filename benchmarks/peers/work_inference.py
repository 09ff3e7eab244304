"""One peer of the inference benchmark: loads the trained models, scores when asked.

    INTERPRETER work_inference.py NAME FOLDER

Each loader returns two functions of float32 rows: the booster's margins (rows with the anomaly as last
column, NaN where missing) and the forest's anomaly (rows without NaN), or None where the peer has no such
model. Every peer is used as its own documentation recommends for prediction in a process, with one thread.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import calls

if TYPE_CHECKING:
    from collections.abc import Callable

    Rows = np.ndarray[Any, np.dtype[np.float32]]
    Score = Callable[[Rows], Rows]
    Pair = tuple[Score | None, Score | None]

SECONDS_MAX = 0.4
"""A turn ends after this time or after all rows; the next turn goes on where it ended."""


def xgboost_and_sklearn(folder: Path) -> Pair:
    """Return `Booster.inplace_predict` and `IsolationForest.score_samples`."""
    import joblib
    import xgboost

    booster = xgboost.Booster(model_file=folder / "booster.ubj")
    booster.set_param({"nthread": 1})
    forest = joblib.load(folder / "forest.joblib")
    return (
        lambda rows: booster.inplace_predict(rows, predict_type="margin"),
        lambda rows: -forest.score_samples(rows),
    )


def tl2cgen(folder: Path) -> Pair:
    """Return tl2cgen's own predictor over libraries that it compiled with gcc."""
    import tl2cgen
    import treelite

    scores: list[Score] = []
    for name, margin in (("booster", True), ("forest", False)):
        library = folder / f"{name}.so"
        if not library.exists():
            model = treelite.Model.deserialize(folder / f"{name}.treelite")
            tl2cgen.export_lib(model, toolchain="gcc", libpath=library, params={"parallel_comp": 16})
        predictor = tl2cgen.Predictor(library, nthread=1)

        def score(rows: Rows, predictor: Any = predictor, margin: bool = margin) -> Rows:  # noqa: ANN401
            return predictor.predict(tl2cgen.DMatrix(rows), pred_margin=margin)

        scores.append(score)
    return scores[0], scores[1]


def treelite_gtil(folder: Path) -> Pair:
    """Return treelite's reference interpreter."""
    import treelite

    booster, forest = (
        treelite.Model.deserialize(folder / f"{name}.treelite") for name in ("booster", "forest")
    )
    return (
        lambda rows: treelite.gtil.predict(booster, rows, nthread=1, pred_margin=True),
        lambda rows: treelite.gtil.predict(forest, rows, nthread=1),
    )


def onnxruntime(folder: Path) -> Pair:
    """Return ONNX Runtime sessions over models converted by onnxmltools and skl2onnx."""
    import joblib
    import onnxmltools
    import onnxruntime
    import skl2onnx
    import xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1

    def session(model: Any) -> Any:  # noqa: ANN401 - types of a peer
        return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])

    booster = xgboost.Booster(model_file=folder / "booster.ubj")
    width = booster.num_features()
    converted = onnxmltools.convert_xgboost(booster, initial_types=[("rows", FloatTensorType([None, width]))])
    # Class and probabilities are what a converted classifier answers; a margin is its logit.
    boosted = session(converted)
    forest = skl2onnx.to_onnx(
        joblib.load(folder / "forest.joblib"),
        np.zeros((1, width - 1), np.float32),
        target_opset={"": 17, "ai.onnx.ml": 3},
    )
    isolated = session(forest)
    offset = -0.5

    def margin(rows: Rows) -> Rows:
        chance = boosted.run([boosted.get_outputs()[1].name], {"rows": rows})[0][:, 1].astype(np.float64)
        return np.log(chance / (1.0 - chance))

    def anomaly(rows: Rows) -> Rows:
        # decision_function is score_samples minus the offset of a forest without contamination.
        return -(isolated.run([isolated.get_outputs()[1].name], {"X": rows})[0][:, 0] + offset)

    return margin, anomaly


def onedal(folder: Path) -> Pair:
    """Return oneDAL's model builder."""
    import daal4py
    import xgboost

    daal4py.daalinit(1)
    model = daal4py.mb.convert_model(xgboost.Booster(model_file=folder / "booster.ubj"))

    def margin(rows: Rows) -> Rows:
        chance = model.predict_proba(rows)[:, 1].astype(np.float64)
        return np.log(chance / (1.0 - chance))

    return margin, None


def lleaves(folder: Path) -> Pair:
    """Try to load the booster with lleaves."""
    import lleaves

    model = lleaves.Model(model_file=str(folder / "booster.json"))
    model.compile()
    return (lambda rows: model.predict(rows, n_jobs=1)), None


def ydf(folder: Path) -> Pair:
    """Try to load the booster with YDF."""
    import ydf

    model = ydf.load_model(str(folder / "booster.json"))
    return (lambda rows: model.predict({"f": rows})), None


LOADERS = {
    "scikit-learn": xgboost_and_sklearn,
    "tl2cgen": tl2cgen,
    "treelite": treelite_gtil,
    "onnxruntime": onnxruntime,
    "onedal": onedal,
    "lleaves": lleaves,
    "ydf": ydf,
}


def together(booster: Score, forest: Score, both: Rows, filled: Rows) -> Rows:
    """Score as a user of the peer writes it: the forest's anomaly becomes the last column of the booster."""
    rows = both.copy()
    rows[:, -1] = np.ravel(forest(filled))
    return booster(rows)


class Worker:
    """Rows, the loaded models, and how far the turns have come."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        data = np.load(folder / "rows.npz")
        self.both, self.filled = data["both"], data["filled"]
        self.scores: dict[str, Callable[[int, int], Rows]] = {}
        self.at: dict[tuple[str, int], int] = {}

    def load(self) -> list[str]:
        """Load the models; return what this peer can score."""
        booster, forest = LOADERS[self.name](self.folder)
        both, filled = self.both, self.filled
        if booster is not None:
            self.scores["booster"] = lambda low, high: booster(both[low:high])
        if forest is not None:
            self.scores["forest"] = lambda low, high: forest(filled[low:high])
        if booster is not None and forest is not None:
            self.scores["ensemble"] = lambda low, high: together(
                booster, forest, both[low:high], filled[low:high]
            )
        return list(self.scores)

    def results(self, what: str) -> str:
        """Score all rows in pieces of 4096 and write the scores; return the file."""
        pieces = [self.scores[what](low, low + 4096) for low in range(0, len(self.both), 4096)]
        file = self.folder / f"{self.name}-{what}.npy"
        np.save(file, np.concatenate([np.asarray(piece, np.float64).ravel() for piece in pieces]))
        return str(file)

    def run(self, what: str, batch: int) -> dict[str, float]:
        """Score in pieces of `batch`, from where the last turn ended."""
        score, count = self.scores[what], len(self.both)

        def work() -> int:
            done, at, end = 0, self.at.get((what, batch), 0), time.perf_counter() + SECONDS_MAX
            while done < count and (done == 0 or time.perf_counter() < end):
                score(at, at + batch)
                done += min(batch, count - at)
                at = at + batch if at + batch < count else 0
            self.at[what, batch] = at
            return done

        return calls.timed(work)


class Engine(Worker):
    """The engine's own scorer: one call for the whole ensemble, missing values as they are."""

    def load(self) -> list[str]:
        """Load the three files."""
        from fraudengine._native import Ensemble

        rows = np.ascontiguousarray(self.both[:, :-1])
        ensembles = {
            what: Ensemble((self.folder / f"{what}.bin").read_bytes())
            for what in ("booster", "forest", "ensemble")
        }
        backend = "auto"
        if self.name == "compiled":
            backend = "compiled"
            ensembles["ensemble"].load_compiled(self.folder / "booster.so", self.folder / "forest.so")
            ensembles = {"ensemble": ensembles["ensemble"]}
        for what, ensemble in ensembles.items():
            values = self.both if what == "booster" else rows
            answer = 0 if what == "forest" else 1

            self.scores[what] = self._scorer(ensemble, values, backend, answer)
        return list(self.scores)

    @staticmethod
    def _scorer(ensemble: Any, values: Rows, backend: str, answer: int) -> Callable[[int, int], Rows]:  # noqa: ANN401
        return lambda low, high: ensemble.score(values[low:high], backend=backend)[answer]


if __name__ == "__main__":
    kind = Engine if sys.argv[1] in ("engine", "compiled") else Worker
    worker = kind(sys.argv[1], Path(sys.argv[2]))
    calls.serve({"load": worker.load, "results": worker.results, "run": worker.run})
