"""The traffic of a scenario: the ordinary days of one world, and the same world's hotter days for the bursts.

A day of the generator is a pure function of settings and seed, and a higher share of fraud only adds
campaigns to those that there were. So a burst is the same people at the same shops, with more payments, with
the campaigns that run anyway and with more of them, cut off at the burst's first and last midnight.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from fraudengine.datasets.synthetic import generate_batches
from fraudengine.scenario.plan import Burst, Plan
from fraudengine.training.options import Progress, silent

__all__ = ["generate_world"]


def generate_world(plan: Plan, *, threads: int = 0, progress: Progress = silent) -> pl.DataFrame:
    """Return the whole history of a scenario, in order of time.

    Parameters
    ----------
    plan
        The scenario.
    threads
        Native threads; 0 for one per processor. The history does not depend on it.
    progress
        Called with the days made.

    Raises
    ------
    ConfigError
        A setting is outside the generator's range.

    """
    total = plan.world.days * (1 + len(plan.bursts))
    by_burst: dict[Burst | None, list[int]] = {None: list(range(plan.world.days))}
    for burst in plan.bursts:
        first = (burst.first - plan.world.start).days
        by_burst[burst] = list(range(first, first + (burst.last - burst.first) // timedelta(days=1) + 1))
        by_burst[None] = [day for day in by_burst[None] if day not in by_burst[burst]]
    made: dict[int, pl.DataFrame] = {}
    for number, (kind, days) in enumerate(by_burst.items()):
        wanted = set(days)
        for day, batch in enumerate(generate_batches(plan.synthetic(kind), threads=threads)):
            if day in wanted:
                made[day] = batch
            progress("generate", number * plan.world.days + day + 1, total)
    return pl.concat([made[day] for day in sorted(made)])
