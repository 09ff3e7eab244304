"""`fraudengine serve`: answer over gRPC whether to let a payment pass."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fraudengine.cli.console import notify, print_json
from fraudengine.cli.settings_options import ConfigOption, SetOption, load_settings

if TYPE_CHECKING:
    from fraudengine.bundle import Bundle
    from fraudengine.config import Settings

__all__ = ["register"]


def serve(
    bundle: Annotated[
        Path | None,
        typer.Argument(
            metavar="[BUNDLE]",
            help="Model to decide with; with --stream: to answer with where the stream is late.",
        ),
    ] = None,
    through_stream: Annotated[
        bool, typer.Option("--stream", help="Let `fraudengine stream` decide: serve.mode=stream.")
    ] = False,
    file: ConfigOption = None,
    assignments: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the addresses as JSON.")] = False,
) -> None:
    """Score transactions over gRPC until interrupted.

    By default the state is the service's own and begins empty. With --stream a transaction goes through
    Kafka, and the stream's own decision is the answer; where that is late, the answer comes from a replica
    of the stream's state and says that it is degraded.

    SIGTERM and Ctrl-C drain: no new calls, those under way end.

    [bold]Examples[/bold]

    fraudengine serve model --set serve.reflection=true

    fraudengine serve --stream model --set state.folder=/var/lib/fraudengine/state

    fraudengine serve model --set serve.tls_certificate=chain.pem --set serve.tls_key=key.pem
    """
    from fraudengine.bundle import Bundle

    settings = load_settings(file, assignments, {"serve.mode": "stream" if through_stream else None})
    asyncio.run(_serve(settings, None if bundle is None else Bundle.load(bundle), as_json=as_json))


async def _serve(settings: Settings, bundle: Bundle | None, *, as_json: bool) -> None:
    from fraudengine.serving import ScoringServer

    server = ScoringServer(settings, bundle)
    asked = server.drain_asked
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked.set)
    await server.start()
    if as_json:
        print_json(
            {
                "address": server.address,
                "native": server.native_address,
                "metrics": server.metrics_address,
                "admin": server.admin_address,
            }
        )
    scoring = "scoring" if server.bundle is None else f"scoring with {server.bundle.path}"
    who = "; the stream decides" if settings.serve.mode == "stream" else ""
    native = f"; native transport at {server.native_address}" if server.native_address else ""
    notify([f"{scoring} at {server.address}{native}; metrics at {server.metrics_address}{who}"])
    await asked.wait()
    await server.stop()
    notify(["drained"])


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("serve")(serve)
