"""What native code needs of a bundle in order to decide with it."""

from __future__ import annotations

from pathlib import Path
from typing import NotRequired, TypedDict

__all__ = ["Activation"]


class Activation(TypedDict):
    """A model, and how its margins become actions; `fraudengine.bundle.Bundle.activation` makes one.

    Attributes
    ----------
    ensemble
        Content of the bundle's `ensemble.bin`.
    slope, intercept
        Calibration: the score is `1 / (1 + exp(-(slope * margin + intercept)))`; slope is positive.
        A bundle without a booster is calibrated on the anomaly instead of the margin.
    review_from, block_from
        Scores, 0 to 1, from which a transaction is reviewed and blocked; the second is not below the first.
    bundle_hash
        Hexadecimal; whoever publishes decisions needs it, since every decision carries its first 8 bytes.
    backend
        `auto` (without it) for the fastest exact one, or `avx512`, `avx2`, `portable`, `reference`,
        `compiled`.
    booster_library, forest_library
        Libraries made by `fraudengine compile`, for the backend `compiled`.

    """

    ensemble: bytes
    slope: float
    intercept: float
    review_from: float
    block_from: float
    bundle_hash: NotRequired[str]
    backend: NotRequired[str]
    booster_library: NotRequired[Path | None]
    forest_library: NotRequired[Path | None]
