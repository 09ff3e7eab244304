"""What a user may say about training, with ranges, and how training reports its progress.

The defaults were chosen on public card data in rolling weeks before the one that is reported, and hold
no rule about any data set.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from fraudengine.errors import ConfigError
from fraudengine.training.thresholds import Costs

__all__ = ["BoosterOptions", "ForestOptions", "Progress", "TrainOptions", "silent"]

_TREES_MAX = 2000


class Progress(Protocol):
    """Called as training advances; must return quickly."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Report `done` of `total` steps of a named stage (`features`, `booster`, ...)."""


def silent(stage: str, done: int, total: int) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class BoosterOptions:
    """XGBoost settings (histogram method).

    Attributes
    ----------
    trees, depth
        Number of trees (1 to 2000) and their depth (1 to 8).
    learning_rate, row_share, feature_share
        Between 0 (exclusive) and 1.
    child_weight_min, l2
        Smallest hessian sum of a leaf and L2 penalty, not negative.
    bins
        Histogram bins per feature, 2 to 256: at most 255 thresholds, which the byte-binned scorer needs.

    """

    trees: int = 200
    depth: int = 6
    learning_rate: float = 0.1
    row_share: float = 0.8
    feature_share: float = 0.5
    child_weight_min: float = 5.0
    l2: float = 5.0
    bins: int = 256

    def __post_init__(self) -> None:
        """Check the ranges."""
        _within("trees", self.trees, 1, _TREES_MAX)
        _within("depth", self.depth, 1, 8)
        _within("bins", self.bins, 2, 256)
        for name in ("learning_rate", "row_share", "feature_share"):
            _within(name, getattr(self, name), 1e-6, 1)
        for name in ("child_weight_min", "l2"):
            _within(name, getattr(self, name), 0, 1e9)


@dataclass(frozen=True)
class ForestOptions:
    """Isolation forest settings: `trees` (1 to 2000) and rows per tree (2 to 4096)."""

    trees: int = 100
    rows_per_tree: int = 256

    def __post_init__(self) -> None:
        """Check the ranges."""
        _within("forest trees", self.trees, 1, _TREES_MAX)
        _within("rows_per_tree", self.rows_per_tree, 2, 4096)


@dataclass(frozen=True)
class TrainOptions:
    """Everything that decides which bundle a history gives.

    Attributes
    ----------
    label_delay
        Time from a transaction to its label, where the history's `label_known_time` does not say.
        `None`: 7 days.
    train_until
        Training uses only what is known at this instant (aware, UTC). Default: `test_span` before the
        end of the history, so that the rest tests the bundle.
    train_span
        Longest stretch of labelled transactions to learn from.
    validation_span, test_span
        Held out for calibration and thresholds, and for the figures of the report. Both are shortened
        in a short history.
    review_fpr, block_fpr
        Shares of genuine transactions to flag at all, and to block.
    costs
        When given, thresholds have the lowest cost instead.
    booster, forest
        Model settings.
    seed
        Of every random choice.
    threads
        Of feature building, booster and forest; the booster's last bits can depend on it, so it is part
        of the recipe.
    golden_rows
        Rows kept in the bundle with their expected scores, 1 to 65536.

    """

    label_delay: timedelta | None = None
    train_until: datetime | None = None
    train_span: timedelta = timedelta(days=60)
    validation_span: timedelta = timedelta(days=7)
    test_span: timedelta = timedelta(days=7)
    review_fpr: float = 0.021
    block_fpr: float = 0.001
    costs: Costs | None = None
    booster: BoosterOptions = field(default_factory=BoosterOptions)
    forest: ForestOptions = field(default_factory=ForestOptions)
    seed: int = 7
    threads: int = 2
    golden_rows: int = 512

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.label_delay is not None:
            _within("label_delay in days", self.label_delay / timedelta(days=1), 0, 365)
        if self.train_until is not None and self.train_until.tzinfo is None:
            raise ConfigError(f"train_until must carry a time zone, got {self.train_until.isoformat()}")
        for name in ("train_span", "validation_span", "test_span"):
            _within(f"{name} in days", getattr(self, name) / timedelta(days=1), 1 / 24, 3660)
        _within("seed", self.seed, 0, 2**31 - 1)
        _within("threads", self.threads, 1, 64)
        _within("golden_rows", self.golden_rows, 1, 65536)
        if not 0 < self.block_fpr <= self.review_fpr < 1:
            raise ConfigError(
                f"need 0 < block_fpr <= review_fpr < 1, got {self.block_fpr} and {self.review_fpr}"
            )

    def recorded(self) -> dict[str, Any]:
        """Return the options as JSON values, durations in seconds, for the manifest."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def _plain(value: Any) -> Any:  # noqa: ANN401 - a JSON value is any of several types
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value.isoformat() if isinstance(value, datetime) else value


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{name} must be between {low} and {high}, got {value}")
