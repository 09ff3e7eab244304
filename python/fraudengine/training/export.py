"""Write trained models as `ensemble.bin`, the file every scorer of the engine reads.

The XGBoost model is read through its own JSON, the isolation forest through scikit-learn's public tree
arrays; nothing is unpickled. What the engine cannot score exactly is refused here: categorical splits,
DART, several classes or targets, forests trained on column subsets. The format is described in
`native/core/src/model/format.rs`, which checks every byte again.
"""

from __future__ import annotations

import json
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fraudengine import _native
from fraudengine.errors import ModelError

if TYPE_CHECKING:
    import xgboost
    from sklearn.ensemble import IsolationForest

__all__ = ["export_ensemble", "native_anomaly"]

_MAGIC = b"FRAUDENS"
_VERSION = 1
_HAS_FOREST, _HAS_BOOSTER, _USES_ANOMALY = 1, 2, 4
_LEAF = 65535
_NODE = np.dtype(
    [
        ("feature", "<u2"),
        ("flags", "<u2"),
        ("threshold", "<f4"),
        ("left", "<u4"),
        ("right", "<u4"),
        ("value", "<f8"),
        ("cover", "<f4"),
    ]
)
_Fill = npt.ArrayLike


def export_ensemble(
    booster: xgboost.Booster | None,
    forest: IsolationForest | None,
    fill_values: _Fill,
    feature_count: int,
) -> bytes:
    """Bytes of `ensemble.bin` for a booster, a forest, or both.

    Parameters
    ----------
    booster
        Trained `binary:logistic` booster on `feature_count` columns, or on one more: the last one is then
        the forest's anomaly, as `native_anomaly` computes it.
    forest
        Fitted isolation forest on `feature_count` columns.
    fill_values
        Float32 array, shape (feature_count,), finite: what the forest was trained with in place of NaN.
        Ignored without a forest.
    feature_count
        Number of base features, 1 to 127.

    Returns
    -------
    bytes
        The file; `fraudengine._native.Ensemble` reads it.

    Raises
    ------
    ModelError
        If a model is of a kind the engine does not score, or the native reader refuses the result.

    Examples
    --------
    >>> data = export_ensemble(booster, None, [], feature_count=32)  # doctest: +SKIP
    """
    flags, body = 0, b""
    if forest is not None:
        flags |= _HAS_FOREST
        body += _forest_bytes(forest, fill_values, feature_count)
    if booster is not None:
        flags |= _HAS_BOOSTER
        columns = booster.num_features()
        if columns == feature_count + 1 and forest is not None:
            flags |= _USES_ANOMALY
        elif columns != feature_count:
            raise ModelError(
                f"booster has {columns} features, expected {feature_count} (one more only with a forest)"
            )
        body += _booster_bytes(booster)
    body = struct.pack("<II", feature_count, flags) + body
    data = _MAGIC + struct.pack("<II", _VERSION, zlib.crc32(body)) + body
    _native.Ensemble(data)  # The reader has the last word on limits and shapes.
    return data


def native_anomaly(
    forest: IsolationForest, fill_values: _Fill, rows: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Anomaly of each row from the engine's own forest: what training must use, so that train = serve.

    Parameters
    ----------
    forest
        Fitted isolation forest on the columns of `rows`.
    fill_values
        Float32 array, shape (columns,): stands in for NaN.
    rows
        Float32 array, shape (n, columns); NaN is missing.

    Returns
    -------
    ndarray
        Float32, shape (n,), in (0, 1); higher is more anomalous (minus scikit-learn's `score_samples`).

    Raises
    ------
    ModelError
        As `export_ensemble`.
    """
    data = export_ensemble(None, forest, fill_values, rows.shape[1])
    contiguous = np.ascontiguousarray(rows, dtype=np.float32)
    anomaly, _ = _native.Ensemble(data).score(contiguous)
    return anomaly


def _forest_bytes(forest: IsolationForest, fill_values: _Fill, feature_count: int) -> bytes:
    if forest.n_features_in_ != feature_count:
        raise ModelError(f"forest has {forest.n_features_in_} features, expected {feature_count}")
    identity = np.arange(feature_count)
    fill = np.asarray(fill_values, dtype="<f4")
    if fill.shape != (feature_count,):
        raise ModelError(f"fill values have shape {fill.shape}, expected ({feature_count},)")
    trees = []
    for index, (estimator, columns) in enumerate(
        zip(forest.estimators_, forest.estimators_features_, strict=True)
    ):
        if not np.array_equal(columns, identity):
            raise ModelError(f"forest tree {index} uses a subset of the columns: max_features must be 1.0")
        tree = estimator.tree_
        leaf = tree.children_left < 0
        samples = tree.n_node_samples.astype(np.float64)
        nodes = np.zeros(tree.node_count, _NODE)
        nodes["feature"] = np.where(leaf, _LEAF, tree.feature)
        nodes["threshold"] = np.where(leaf, 0.0, _first_above(tree.threshold))
        nodes["left"] = np.where(leaf, 0, tree.children_left)
        nodes["right"] = np.where(leaf, 0, tree.children_right)
        # Added in scikit-learn's own order, so that the sums have its bits.
        nodes["value"] = np.where(leaf, (_edges(tree) + 1.0) + _average_path_length(samples) - 1.0, 0.0)
        nodes["cover"] = samples
        trees.append(_tree_bytes(nodes))
    denominator = len(trees) * _average_path_length(np.array([float(forest.max_samples_)]))[0]
    return struct.pack("<Id", len(trees), denominator) + fill.tobytes() + b"".join(trees)


def _first_above(threshold: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Smallest float32 `c` with `x <= threshold` exactly when `x < c`, for every float32 x."""
    with np.errstate(over="ignore"):
        rounded = threshold.astype(np.float32)
        above = np.nextafter(rounded, np.float32(np.inf))
    return np.where(rounded.astype(np.float64) <= threshold, above, rounded)


def _edges(tree: Any) -> npt.NDArray[np.float64]:  # noqa: ANN401  (scikit-learn's Tree has no type)
    """Edges from the root to each node."""
    depth = np.zeros(tree.node_count)
    for node, (left, right) in enumerate(zip(tree.children_left, tree.children_right, strict=True)):
        if left >= 0:  # Parents come first.
            depth[left] = depth[right] = depth[node] + 1.0
    return depth


def _average_path_length(samples: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the expected edges to a leaf in a random tree of so many samples, as scikit-learn does."""
    many = np.maximum(samples, 3.0)
    expected = 2.0 * (np.log(many - 1.0) + np.euler_gamma) - 2.0 * (many - 1.0) / many
    return np.where(samples <= 1.0, 0.0, np.where(samples == 2.0, 1.0, expected))


def _booster_bytes(booster: xgboost.Booster) -> bytes:
    learner = json.loads(booster.save_raw("json"))["learner"]
    objective = learner["objective"]["name"]
    if objective != "binary:logistic":
        raise ModelError(f"booster objective is {objective}, must be binary:logistic")
    gradient_booster = learner["gradient_booster"]
    if gradient_booster["name"] != "gbtree":
        raise ModelError(f"booster is {gradient_booster['name']}, must be gbtree")
    parameters = learner["learner_model_param"]
    if int(parameters["num_class"]) > 1 or int(parameters.get("num_target", "1")) > 1:
        raise ModelError("booster has several classes or targets, must have one")
    model = gradient_booster["model"]
    trees = [_xgboost_tree(index, tree) for index, tree in enumerate(model["trees"])]
    return struct.pack("<If", len(trees), _base_margin(parameters["base_score"])) + b"".join(trees)


def _base_margin(base_score: str) -> np.float32:
    """Log odds of the base score, in float32 as XGBoost takes them. Newer versions write "[5E-1]"."""
    values = np.atleast_1d(np.asarray(json.loads(base_score), np.float32))
    if values.size != 1:
        raise ModelError(f"booster has {values.size} base scores, must have one")
    probability = values[0]
    if not 0.0 < probability < 1.0:
        raise ModelError(f"booster base score is {probability}, must be above 0 and below 1")
    return np.float32(-np.log(np.float32(1.0) / probability - np.float32(1.0)))


def _xgboost_tree(index: int, tree: dict[str, Any]) -> bytes:
    if tree["categories_nodes"] or any(tree["split_type"]):
        raise ModelError(f"booster tree {index} splits on categories, only numbers are supported")
    if int(tree["tree_param"]["size_leaf_vector"]) > 1:
        raise ModelError(f"booster tree {index} has vector leaves, must have one value")
    if int(tree["tree_param"]["num_deleted"]) > 0:
        raise ModelError(f"booster tree {index} has deleted nodes")
    left = np.asarray(tree["left_children"], np.int64)
    leaf = left < 0
    condition = np.asarray(tree["split_conditions"], np.float32)
    nodes = np.zeros(left.size, _NODE)
    nodes["feature"] = np.where(leaf, _LEAF, np.asarray(tree["split_indices"], np.int64))
    nodes["flags"] = np.where(leaf, 0, np.asarray(tree["default_left"], np.int64))
    nodes["threshold"] = np.where(leaf, np.float32(0.0), condition)
    nodes["left"] = np.where(leaf, 0, left)
    nodes["right"] = np.where(leaf, 0, np.asarray(tree["right_children"], np.int64))
    nodes["value"] = np.where(leaf, condition.astype(np.float64), 0.0)
    nodes["cover"] = np.asarray(tree["sum_hessian"], np.float32)
    return _tree_bytes(nodes)


def _tree_bytes(nodes: npt.NDArray[Any]) -> bytes:
    return struct.pack("<I", nodes.size) + nodes.tobytes()
