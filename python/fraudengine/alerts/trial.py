"""The test message: says what it is, and looks like a real one."""

from __future__ import annotations

import secrets
import time

from fraudengine.alerts.message import Message
from fraudengine.alerts.records import Alert
from fraudengine.alerts.rollup import Rollup

__all__ = ["trial_message"]


def trial_message() -> Message:
    """Return a message about a payment that never was."""
    now, name = time.time(), secrets.token_hex(8)
    alert = Alert(
        offset=0,
        transaction_id="this-is-a-test",
        event_time_micros=int(now * 1e6),
        customer="this-is-a-test",
        card=None,
        device=None,
        merchant=None,
        amount_minor=0,
        currency="EUR",
        channel=None,
        merchant_category=None,
        country=None,
        score=None,
        action="review",
        reasons=(),
    )
    return Message(
        id=name,
        thread=name,
        number=1,
        route="test",
        subject="customer:this-is-a-test",
        rollup=Rollup.of(alert),
        alerts_before=0,
        made_ms=int(now * 1e3),
    )
