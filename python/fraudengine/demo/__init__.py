"""The whole job on a synthetic history: generate, train, compile, decide the following days, count.

`run_live` decides them as they happen, through Kafka, with PostgreSQL and Redis behind; `run_replay` decides
them from the file and needs no service. Nothing here is special to the demonstration: each step is the
function behind the command of the same name.
"""

from __future__ import annotations

from fraudengine.demo.live import LiveResult, run_live
from fraudengine.demo.outcome import Outcome
from fraudengine.demo.prepare import DemoOptions
from fraudengine.demo.replayed import ReplayedResult, run_replay
from fraudengine.demo.steady import Steady, SteadyFigures
from fraudengine.demo.watching import Figures, Stage

__all__ = [
    "DemoOptions",
    "Figures",
    "LiveResult",
    "Outcome",
    "ReplayedResult",
    "Stage",
    "Steady",
    "SteadyFigures",
    "run_live",
    "run_replay",
]
