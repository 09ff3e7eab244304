"""Who looks: the log-in form, the session of a browser, log-out.

A session of Streamlit ends with its connection, so a reload would ask again: the browser keeps a random token
in a cookie, and this process knows whose it is. The cookie is for this site only and holds no secret of the
person's.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import streamlit as st

from fraudengine.addresses import is_loopback
from fraudengine.dashboard.access import Refusal, Role, User
from fraudengine.dashboard.context import gate, settings

if TYPE_CHECKING:
    from fraudengine.dashboard.access import Gate

__all__ = ["ask", "log_out", "recognised", "user"]

_COOKIE = "fraudengine_session"
_USER, _TOKEN = "user", "session_token"
_NOBODY = User("local", Role.ANALYST)


def user() -> User:
    """Return who is logged in; only called in pages, which nobody reaches without."""
    found = st.session_state.get(_USER)
    if not isinstance(found, User):
        st.stop()
    return found


def recognised() -> User | None:
    """Return who is logged in, and let the browser remember it; `None`: nobody, who has to be asked."""
    known = gate()
    found = st.session_state.get(_USER)
    if isinstance(found, User):
        _keep_cookie()
        return found
    if known.is_open:
        _refuse_strangers()
        return _entered(_NOBODY)
    token = _cookie()
    recalled = known.recalled(token) if token and not st.session_state.get("left") else None
    if recalled is not None:
        st.session_state[_TOKEN] = token
        return _entered(recalled)
    told = _identified(known)
    return _entered(told) if isinstance(told, User) else None


def ask() -> None:
    """Show the log-in."""
    known = gate()
    told = _identified(known)
    if isinstance(told, Refusal):
        st.error(told.reason, icon=":material/block:")
        st.button("Log in as somebody else", on_click=st.logout)
    else:
        _form(known)


def log_out() -> None:
    """End the session, in this browser and here."""
    gate().forget(st.session_state.pop(_TOKEN, ""))
    st.session_state.pop(_USER, None)
    st.session_state["left"] = True
    if gate().has_oidc and st.user.get("is_logged_in"):
        st.logout()


def _identified(known: Gate) -> User | Refusal | None:
    """Return whom the OIDC provider has let in; `None`: nobody."""
    if not (known.has_oidc and st.user.get("is_logged_in")):
        return None
    return known.identified({str(key): value for key, value in st.user.to_dict().items()})


def _entered(found: User) -> User:
    st.session_state[_USER] = found
    st.session_state["left"] = False
    return found


def _refuse_strangers() -> None:
    """Stop where others reach the address and there is no password; `fraudengine dashboard` checks too."""
    address = st.get_option("server.address")
    if address is not None and not is_loopback(str(address)):
        st.error(f"server.address is {address}, not a loopback address: set dashboard.analyst_password")
        st.stop()


def _form(known: Gate) -> None:
    _, middle, _ = st.columns([1, 1.2, 1])
    with middle:
        st.title("fraudengine", anchor=False)
        if known.has_passwords:
            with st.form("log-in", border=True):
                name = st.text_input("Your name", key="login_name", autocomplete="username", max_chars=64)
                password = st.text_input(
                    "Password", type="password", key="login_password", autocomplete="current-password"
                )
                asked = st.form_submit_button("Log in", type="primary", width="stretch")
            if asked:
                told = known.enter(name, password, st.context.ip_address or "local")
                if isinstance(told, Refusal):
                    st.error(told.reason, icon=":material/lock:")
                else:
                    st.session_state[_TOKEN] = known.remember(told)
                    _entered(told)
                    st.rerun()
        if known.has_oidc:
            st.button("Log in with your organisation", on_click=st.login, width="stretch")


def _cookie() -> str:
    found = st.context.cookies.get(_COOKIE)
    return found if isinstance(found, str) else ""


def _keep_cookie() -> None:
    """Have the browser keep the session's token; it is told in every run, because a run may be cut off."""
    token = st.session_state.get(_TOKEN)
    if not isinstance(token, str) or _cookie() == token:
        return
    told = settings().dashboard
    secure = "; Secure" if told.tls_certificate.name else ""
    cookie = f"{_COOKIE}={token}; Path=/; SameSite=Strict; Max-Age={int(told.session_hours * 3_600)}{secure}"
    st.html(f"<script>document.cookie = {json.dumps(cookie)};</script>", unsafe_allow_javascript=True)
