"""The options by which a command takes its configuration, `--config` and `--set`: one definition for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fraudengine.errors import ConfigError

if TYPE_CHECKING:
    from fraudengine.config import Settings

__all__ = ["ConfigOption", "SetOption", "load_settings"]

_PANEL = "Configuration"

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", help="Settings; otherwise fraudengine.toml of this folder.", rich_help_panel=_PANEL
    ),
]
"""The option of a command that reads the configuration."""

SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.KEY=VALUE",
        help="One setting, over file and environment; may be repeated.",
        rich_help_panel=_PANEL,
    ),
]
"""The option that gives any setting by name."""


def load_settings(
    config: Path | None, assignments: Sequence[str] | None, own: Mapping[str, object] | None = None
) -> Settings:
    """Return the effective settings of a command.

    Parameters
    ----------
    config
        Value of `ConfigOption`.
    assignments
        Value of `SetOption`.
    own
        Values of the command's own options by `SECTION.KEY`, which win; None stands for one not given.

    Raises
    ------
    ConfigError
        As `fraudengine.config.load`, or an assignment has no `=`.
    """
    # Only commands that need settings pay for the libraries behind them.
    from fraudengine.config import load

    flags: dict[str, object] = {}
    for assignment in assignments or ():
        name, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set {assignment} is not of the form SECTION.KEY=VALUE")
        flags[name.strip()] = value
    flags |= {name: value for name, value in (own or {}).items() if value is not None}
    return load(config, flags)
