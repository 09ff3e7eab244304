"""The effective configuration: flags over environment over file over defaults, checked, with its origins.

`load` is the only way in. It refuses a key that nobody knows, naming the nearest one, and a value out of
its range, naming key, value and where it came from; both in one line. Secrets are masked in everything that
is printed.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, PrivateAttr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from fraudengine import services
from fraudengine.errors import ConfigError
from fraudengine.masking import masked
from fraudengine.settings import (
    DashboardSettings,
    DeadLetterSettings,
    DrillSettings,
    EmbeddedSettings,
    EngineSettings,
    HttpSettings,
    KafkaSettings,
    LogSettings,
    OutputSettings,
    PostgresSettings,
    RedisSettings,
    ServeSettings,
    SparkSettings,
    StateSettings,
)
from fraudengine.settings_alerts import AlertsSettings

__all__ = ["FILE_NAME", "EmbeddedSettings", "Settings", "default_text", "file_of", "load"]

FILE_NAME = "fraudengine.toml"
_PREFIX = "FRAUDENGINE_"

Layer = dict[str, dict[str, Any]]


class Settings(BaseSettings):
    """All sections. Immutable; made by `load`."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
        enable_decoding=False,
    )

    kafka: KafkaSettings
    engine: EngineSettings
    output: OutputSettings
    dead_letter: DeadLetterSettings
    drill: DrillSettings
    state: StateSettings
    postgres: PostgresSettings
    redis: RedisSettings
    http: HttpSettings
    log: LogSettings
    serve: ServeSettings
    dashboard: DashboardSettings
    alerts: AlertsSettings
    spark: SparkSettings
    embedded: EmbeddedSettings
    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from `load` only, which knows where each came from."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    def origin(self, name: str) -> str:
        """Return where the value of `SECTION.KEY` came from."""
        return self._origins[name]

    def printable(self) -> Iterator[tuple[str, object, str]]:
        """Yield `SECTION.KEY`, its masked value and its origin, in the order of `default.toml`."""
        for name in self._origins:
            section, key = name.split(".")
            yield name, masked(key, getattr(getattr(self, section), key)), self._origins[name]

    def embedded_wanted(self) -> tuple[str, ...]:
        """Return the names of the services that have no address of their own and are switched on."""
        wanted = {
            "kafka": not self.kafka.brokers,
            "redis": self.redis.enabled and not self.redis.url,
            "postgres": self.postgres.enabled and not self.postgres.url,
        }
        return tuple(name for name in services.ALL if wanted[name])

    def resolved(
        self, stack: services.Stack | None = None, *, only: Collection[str] = services.ALL
    ) -> Settings:
        """Return these settings with every address filled in.

        Parameters
        ----------
        stack
            Embedded services to take addresses from; None looks for those that run in `embedded.folder`.
        only
            Names of the services whose addresses are wanted.

        Raises
        ------
        ServiceError
            An address is empty and the embedded service does not run.
        """
        wanted = [name for name in self.embedded_wanted() if name in only]
        if not wanted:
            return self
        stack = stack or services.running(self.embedded.folder)
        stack = stack or services.Stack(self.embedded.folder.absolute(), {})
        changed: dict[str, Any] = {}
        if "kafka" in wanted:
            changed["kafka"] = self.kafka.model_copy(update={"brokers": stack.kafka_brokers})
        if "redis" in wanted:
            changed["redis"] = self.redis.model_copy(update={"url": stack.redis_url})
        if "postgres" in wanted:
            changed["postgres"] = self.postgres.model_copy(update={"url": stack.postgres_url})
        return self.model_copy(update=changed)

    def native_json(
        self, stack: services.Stack | None = None, *, only: Collection[str] = services.ALL
    ) -> str:
        """Return what the native runtime is given: sections, secrets and addresses.

        All sections but `[serve]`, `[dashboard]`, `[alerts]`, `[spark]` and `[embedded]`.

        Parameters
        ----------
        stack, only
            As for `resolved`; a part of the runtime that asks no service needs no address, `only=()`.

        Raises
        ------
        ServiceError
            As `resolved`.
        """
        ours = {"serve", "dashboard", "alerts", "spark", "embedded"}
        told = self.resolved(stack, only=only).model_dump(mode="json", exclude=ours)
        told["dead_letter"]["hash_key"] = self.dead_letter.hash_key.get_secret_value()
        return json.dumps(told, allow_nan=False)

    def serve_json(self) -> str:
        """Return what the native part of the scoring service in front of the stream is given of `[serve]`."""
        return self.serve.model_dump_json(
            include={
                "answers_kept",
                "behind_ms_max",
                "deadline_margin_ms",
                "in_flight_max",
                "lag_records_max",
                "warm_transactions",
                "no_answer_approve_below",
                "no_answer_block_from",
            }
        )


def load(file: Path | str | None = None, flags: Mapping[str, object] | None = None) -> Settings:
    """Return the effective settings.

    Parameters
    ----------
    file
        TOML file; None takes `fraudengine.toml` of the working folder if there is one.
    flags
        Values by `SECTION.KEY`; they win over everything else. Tables may be written as JSON.

    Raises
    ------
    ConfigError
        The file cannot be read, a key is unknown, or a value has the wrong type or is out of its range.
    """
    layers: list[tuple[str, Layer]] = [("default", tomllib.loads(default_text()))]
    if (path := file_of(file)) is not None:
        layers.append((str(path), _from_file(path)))
    layers.append(("environment", _from_environment()))
    layers.append(("flag", _from_flags(flags or {})))
    merged: Layer = {}
    origins: dict[str, str] = {}
    for origin, layer in layers:
        for section, keys in layer.items():
            for key, value in keys.items():
                name = f"{section}.{key}"
                merged.setdefault(section, {})[key] = value
                origins[name] = f"{_PREFIX}{section}__{key}".upper() if origin == "environment" else origin
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        raise ConfigError("; ".join(_explained(each, merged, origins) for each in error.errors())) from None
    settings._origins.update(origins)
    return settings


def file_of(file: Path | str | None) -> Path | None:
    """Return the file that `load` reads: the one given, else that of the working folder, if there is one."""
    if file is not None:
        return Path(file)
    path = Path(FILE_NAME)
    return path if path.exists() else None


def default_text() -> str:
    """Return the text of `default.toml`: every key with its default, unit, range and meaning."""
    return resources.files("fraudengine").joinpath("default.toml").read_text(encoding="utf-8")


def _from_file(path: Path) -> Layer:
    try:
        layer = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"the configuration {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"the configuration {path} is not TOML: {error}") from error
    for section, keys in layer.items():
        if section not in Settings.model_fields:
            raise ConfigError(
                f"[{section}] in {path} is not a section{_nearest(section, Settings.model_fields)}"
            )
        if not isinstance(keys, dict):
            raise ConfigError(f"{section} in {path} must be a section, written [{section}]")
        for key in keys:
            _known(f"{section}.{key}", f" in {path}")
    return layer


def _from_environment() -> Layer:
    sections = "|".join(Settings.model_fields)
    # Both a strange name with the delimiter and a known section with a single underscore are slips of the
    # pen.
    ours = re.compile(rf"^{_PREFIX}(.*__.*|({sections})(_.*)?)$", re.IGNORECASE)
    variables = {_variable(name): name for name in _names()}
    for variable in os.environ:
        if ours.match(variable) and variable.upper() not in variables:
            near = _nearest(variable.upper(), variables)
            raise ConfigError(f"the environment variable {variable} is not a setting{near}")
    found = EnvSettingsSource(Settings)()
    return {section: {key: _table(keys[key]) for key in keys} for section, keys in found.items()}


def _from_flags(flags: Mapping[str, object]) -> Layer:
    layer: Layer = {}
    for name, value in flags.items():
        _known(name, "")
        section, key = name.split(".")
        layer.setdefault(section, {})[key] = _table(value)
    return layer


def _table(value: object) -> object:
    """Return the table or list that a text writes as JSON; others as they are, for their types to judge."""
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        with suppress(ValueError):
            return json.loads(value)
    return value


def _names() -> list[str]:
    """Return every `SECTION.KEY`."""
    return [
        f"{section}.{key}"
        for section, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        for key in field.annotation.model_fields
    ]


def _variable(name: str) -> str:
    return f"{_PREFIX}{name.replace('.', '__')}".upper()


def _known(name: str, where: str) -> None:
    names = _names()
    if name not in names:
        raise ConfigError(f"{name}{where} is not a setting{_nearest(name, names)}")


def _nearest(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; the nearest one is {found[0]}" if found else "; `fraudengine config` lists them"


def _explained(error: ErrorDetails, merged: Layer, origins: Mapping[str, str]) -> str:
    """Return one error of pydantic as one line that names key, value, origin and rule."""
    section, key, *inner = [str(part) for part in error["loc"]]
    name = f"{section}.{key}"
    value = merged.get(section, {}).get(key)
    within = f" ({'.'.join(part for part in inner if part != '[key]')})" if inner else ""
    rule = str(error["msg"]).replace("Input should", "it should").replace("String should", "it should")
    shown = masked(key, value)
    return f"{name} is {shown!r}{within}, from {origins.get(name, 'nowhere')}: {rule}"
