"""Scripted scenarios: days of traffic with all kinds of fraud, decided at full speed, counted in money.

A scenario is a TOML file: those of this package lie beside this module, anybody's own works the same. It says
what world to generate, which of its days are played and where trouble comes in bursts. The model learns from
the days before, with labels as they had become known by then, and the native engine decides the played days.
No figure stands in the file: everything reported is counted from the decisions.
"""

from __future__ import annotations

from fraudengine.scenario.plan import Burst, Plan, built_in, load_plan
from fraudengine.scenario.play import ScenarioResult, play
from fraudengine.scenario.world import generate_world

__all__ = ["Burst", "Plan", "ScenarioResult", "built_in", "generate_world", "load_plan", "play"]
