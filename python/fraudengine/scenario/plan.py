"""What a scenario file may say, with its ranges; a wrong key or value is refused by name."""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fraudengine.datasets.synthetic import SyntheticConfig
from fraudengine.errors import ConfigError
from fraudengine.training import BoosterOptions, TrainOptions

__all__ = ["Burst", "Plan", "built_in", "load_plan"]

_SUFFIX = ".toml"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class World(_Part):
    """`[world]`: settings of the generator, see `SyntheticConfig`; records arrive in order and once."""

    seed: int = Field(ge=0, le=2**31 - 1)
    customers: int
    merchants: int
    days: int = Field(ge=2)
    start: date
    daily_mean: float = 0.7
    fraud_rate: float = 0.005
    label_delay_hours: float = 72.0
    label_noise: float = 0.0
    drift: float = 0.0


class Burst(_Part):
    """`[[bursts]]`: days, first and last included, on which more is paid or more is stolen.

    Attributes
    ----------
    first, last
        Days.
    daily_mean, fraud_rate
        What holds on them instead of the world's; `daily_mean` is the world's if not given.

    """

    first: date
    last: date
    fraud_rate: float
    daily_mean: float | None = None


class Learning(_Part):
    """`[training]`: recipe of the model where none is given, see `TrainOptions`."""

    train_span_days: int = 60
    trees: int = 200
    review_fpr: float = 0.021
    block_fpr: float = 0.001
    threads: int = 2


class Money(_Part):
    """`[money]`: what the report counts in, and what one EUR, in which the world pays, is worth in it."""

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "EUR"
    per_eur: Decimal = Field(default=Decimal(1), gt=0, le=10_000, decimal_places=4)


class Plan(_Part):
    """One scenario.

    Attributes
    ----------
    title
        What it is, in a line.
    play_days
        Days at the end of the world that are decided; the model learns from those before.
    world, bursts, training, money
        See their classes.

    """

    title: str = Field(min_length=1, max_length=200)
    play_days: int = Field(ge=1)
    world: World
    bursts: tuple[Burst, ...] = ()
    training: Learning = Learning()
    money: Money = Money()

    @model_validator(mode="after")
    def _days_are_in_the_world(self) -> Self:
        if self.play_days >= self.world.days:
            raise ValueError(f"play_days is {self.play_days}, must be below the world's {self.world.days}")
        begin, end = self.world.start, self.world.start + timedelta(days=self.world.days - 1)
        taken: set[date] = set()
        for burst in self.bursts:
            if not begin <= burst.first <= burst.last <= end:
                raise ValueError(f"the burst {burst.first} to {burst.last} is not within {begin} to {end}")
            days = {burst.first + timedelta(days=day) for day in range((burst.last - burst.first).days + 1)}
            if days & taken:
                raise ValueError(f"{min(days & taken)} is in two bursts")
            taken |= days
        return self

    @property
    def cut(self) -> datetime:
        """The first instant that is played."""
        first = self.world.start + timedelta(days=self.world.days - self.play_days)
        return datetime.combine(first, time(), UTC)

    def with_seed(self, seed: int) -> Self:
        """Return the same scenario in another world."""
        return self.model_copy(update={"world": self.world.model_copy(update={"seed": seed})})

    def synthetic(self, burst: Burst | None = None) -> SyntheticConfig:
        """Return the generator's settings, of the ordinary days or of a burst."""
        settings: dict[str, Any] = self.world.model_dump()
        if burst is not None:
            settings |= burst.model_dump(include={"fraud_rate", "daily_mean"}, exclude_none=True)
        settings["start"] = datetime.combine(self.world.start, time(), UTC)
        return SyntheticConfig(**settings)

    def train_options(self) -> TrainOptions:
        """Return the recipe of the model."""
        told = self.training
        return TrainOptions(
            train_until=self.cut,
            train_span=timedelta(days=told.train_span_days),
            test_span=timedelta(days=self.play_days),
            review_fpr=told.review_fpr,
            block_fpr=told.block_fpr,
            booster=BoosterOptions(trees=told.trees),
            seed=self.world.seed,
            threads=told.threads,
        )


def built_in() -> dict[str, Plan]:
    """Return the scenarios of this package by name."""
    folder = resources.files("fraudengine.scenario")
    files = sorted(each.name for each in folder.iterdir() if each.name.endswith(_SUFFIX))
    return {
        name.removesuffix(_SUFFIX): _parsed(folder.joinpath(name).read_text(encoding="utf-8"), name)
        for name in files
    }


def load_plan(name: str) -> tuple[str, Plan]:
    """Return name and content of a scenario.

    Parameters
    ----------
    name
        One of `built_in`, or the path of a TOML file.

    Raises
    ------
    ConfigError
        There is no such scenario, or the file says what it may not.

    """
    known = built_in()
    if name in known:
        return name, known[name]
    path = Path(name)
    if path.suffix != _SUFFIX:
        raise ConfigError(f"{name!r} is neither a scenario ({', '.join(known)}) nor a file NAME{_SUFFIX}")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"the scenario {path} cannot be read: {error.strerror}") from error
    return path.stem, _parsed(text, str(path))


def _parsed(text: str, origin: str) -> Plan:
    try:
        return Plan.model_validate(tomllib.loads(text))
    except ValidationError as error:
        told = "; ".join(
            ": ".join(filter(None, (".".join(map(str, each["loc"])), each["msg"]))) for each in error.errors()
        )
        raise ConfigError(f"the scenario {origin} is refused: {told}") from None
    except ValueError as error:
        raise ConfigError(f"the scenario {origin} is not TOML: {error}") from error
