"""Log-in on the pages themselves: who is asked, refused, let in, and let out."""

from __future__ import annotations

from dashboard import all_text, application
from service_stack import Fresh
from store_rows import made_tables

PASSWORDS = {"dashboard.viewer_password": "look", "dashboard.analyst_password": "judge"}


def test_without_a_password_everybody_here_is_an_analyst(fresh: Fresh) -> None:
    settings = fresh.settings()
    made_tables(settings.postgres.url)
    with application(settings) as app:
        app.run()
        assert not app.exception
        assert [each.value for each in app.title] == ["Live"]
        assert app.session_state["user"].may_judge


def test_log_in_refuses_lets_in_and_lets_out(fresh: Fresh) -> None:
    settings = fresh.settings(PASSWORDS)
    made_tables(settings.postgres.url)
    with application(settings) as app:
        app.run()
        assert [each.value for each in app.title] == ["fraudengine"]
        assert "user" not in app.session_state
        app.text_input(key="login_name").input("Vic")
        app.text_input(key="login_password").input("wrong")
        app.button[0].click().run()
        assert [each.value for each in app.error] == ["Wrong password."]
        assert "Live" not in all_text(app)
        app.text_input(key="login_password").input("look")
        app.button[0].click().run()
        assert not app.exception
        assert [each.value for each in app.title] == ["Live"]
        assert not app.session_state["user"].may_judge
        assert "Vic · viewer" in all_text(app)
        next(each for each in app.button if each.label == "Log out").click().run()
        assert [each.value for each in app.title] == ["fraudengine"]
        assert "user" not in app.session_state
