"""Runs the dashboard in this process until it is told to end.

Everything is local: no usage statistics, no fonts, scripts or tiles from elsewhere. The pages are files of
`streamlit_app/`: in a checkout beside `python/`, in an installed package beside it.
"""

from __future__ import annotations

import importlib.util
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fraudengine.addresses import is_loopback
from fraudengine.errors import ConfigError, ServiceError
from fraudengine.services import ports

if TYPE_CHECKING:
    from fraudengine.config import Settings
    from fraudengine.settings import DashboardSettings

__all__ = ["app_file", "options", "run"]

_PACKAGE: Final = Path(__file__).resolve().parents[1]
_POLL_SECONDS: Final = 0.1
_LIGHT: Final = {
    "primaryColor": "#005A9C",
    "backgroundColor": "#FFFFFF",
    "secondaryBackgroundColor": "#F3F5F8",
    "textColor": "#17202B",
    "borderColor": "#DDE2E8",
}
_DARK: Final = {
    "primaryColor": "#5AB0F0",
    "backgroundColor": "#10161D",
    "secondaryBackgroundColor": "#1A222C",
    "textColor": "#E4E9EF",
    "borderColor": "#2B3541",
}


def app_file() -> Path:
    """Return the file that Streamlit runs.

    Raises
    ------
    ServiceError
        It was not installed with the package.

    """
    for folder in (_PACKAGE.parent, _PACKAGE.parent.parent):
        file = folder / "streamlit_app" / "app.py"
        if file.is_file():
            return file
    raise ServiceError(f"streamlit_app/app.py is missing beside {_PACKAGE}: install fraudengine again")


def options(dashboard: DashboardSettings, port: int) -> dict[str, Any]:
    """Return the options of Streamlit that follow from the settings.

    Raises
    ------
    ConfigError
        Strangers could look, or a file is missing.

    """
    told: dict[str, Any] = {
        "server.address": dashboard.host,
        "server.port": port,
        "server.headless": True,
        "server.fileWatcherType": "none",
        "server.showEmailPrompt": False,
        "browser.gatherUsageStats": False,
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
        "logger.hideWelcomeMessage": True,
        "runner.magicEnabled": False,
        "theme.baseFontSize": 15,
        "theme.paddingTop": "2.5rem",
        "theme.metricValueFontSize": "1.6rem",
        "theme.showSidebarBorder": True,
        **{f"theme.light.{name}": colour for name, colour in _LIGHT.items()},
        **{f"theme.dark.{name}": colour for name, colour in _DARK.items()},
    }
    secrets = dashboard.oidc_secrets
    if is_loopback(dashboard.host):
        # A page of another site whose name is made to point here is not let in.
        told["server.allowedHosts"] = ["localhost", "127.0.0.1", "::1", dashboard.host.strip("[]")]
    elif not (_has_password(dashboard) or secrets.name):
        raise ConfigError(
            f"dashboard.host is {dashboard.host}, not a loopback address: set dashboard.analyst_password or "
            "dashboard.viewer_password, or dashboard.oidc_secrets"
        )
    if secrets.name:
        told["secrets.files"] = [str(_file(secrets, "oidc_secrets"))]
        if any(importlib.util.find_spec(name) is None for name in ("authlib", "httpx")):
            raise ConfigError("dashboard.oidc_secrets needs more packages: pip install 'fraudengine[oidc]'")
    if dashboard.tls_certificate.name or dashboard.tls_key.name:
        told["server.sslCertFile"] = str(_file(dashboard.tls_certificate, "tls_certificate"))
        told["server.sslKeyFile"] = str(_file(dashboard.tls_key, "tls_key"))
    return told


def run(settings: Settings, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Parameters
    ----------
    settings
        Effective settings.
    ready
        Called once with the address, from another thread, when the dashboard answers.

    Raises
    ------
    ConfigError
        As `options`, or the port is taken.

    """
    from streamlit import config
    from streamlit.web import bootstrap

    from fraudengine.dashboard import context

    dashboard = settings.dashboard
    port = dashboard.port or ports.choose({"dashboard": 0}, {})["dashboard"]
    if ports.listening(port):
        raise ConfigError(f"dashboard.port is {port}: another program listens there")
    told = options(dashboard, port)
    file = str(app_file())
    context.configure(settings)
    config._main_script_path = file
    bootstrap.load_config_options(told)
    scheme = "https" if dashboard.tls_certificate.name else "http"
    ended = threading.Event()
    waiting = threading.Thread(
        target=_tell, args=(f"{scheme}://{dashboard.host}:{port}", ready, ended), daemon=True
    )
    waiting.start()
    try:
        bootstrap.run(file, False, [], told)
    finally:
        ended.set()
        context.close()


def _tell(address: str, ready: Callable[[str], None], ended: threading.Event) -> None:
    """Call `ready` when the dashboard answers; a certificate of its own need not be known here."""
    import ssl

    anybody = ssl._create_unverified_context()
    while not ended.wait(_POLL_SECONDS):
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=1.0, context=anybody):
                ready(address)
                return
        except (urllib.error.URLError, OSError):
            continue


def _has_password(dashboard: DashboardSettings) -> bool:
    return any(each.get_secret_value() for each in (dashboard.viewer_password, dashboard.analyst_password))


def _file(path: Path, key: str) -> Path:
    if not path.is_file():
        raise ConfigError(f"dashboard.{key} {path} is no file")
    return path.absolute()
