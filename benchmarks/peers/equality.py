"""Whether a peer computed the same: asked before anything is timed.

A peer that computes something else may be fast for that reason, so a difference ends the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt


class UnequalError(Exception):
    """A peer's results are not the engine's."""


def check_equal(
    what: str,
    ours: npt.ArrayLike,
    theirs: npt.ArrayLike,
    *,
    tolerance: float,
    differing_max: int = 0,
) -> float:
    """Compare two columns; NaN equals NaN only.

    Parameters
    ----------
    what
        Contestant and column, for the message.
    ours, theirs
        Numbers, one for each row.
    tolerance
        Largest difference, absolute and relative to ours.
    differing_max
        Rows that may differ by more.

    Returns
    -------
    float
        The largest difference among the rows that count as equal.

    Raises
    ------
    UnequalError
        Another number of rows, no rows at all, or too many that differ.
    """
    left, right = np.asarray(ours, np.float64).ravel(), np.asarray(theirs, np.float64).ravel()
    if left.shape != right.shape or not left.size:
        raise UnequalError(f"{what}: {right.size} rows, the engine has {left.size}")
    close = np.isclose(left, right, rtol=tolerance, atol=tolerance, equal_nan=True)
    differing = int((~close).sum())
    if differing > differing_max:
        row = int(np.flatnonzero(~close)[0])
        raise UnequalError(
            f"{what}: {differing} of {left.size} rows differ, "
            f"first row {row}: {right[row]!r} instead of {left[row]!r}"
        )
    both = close & ~np.isnan(left) & ~np.isnan(right)
    return float(np.abs(left[both] - right[both]).max()) if both.any() else 0.0
