"""Runs a load test: the native sender makes the calls, so that it is not the limit before the service is."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from fraudengine import _native
from fraudengine.errors import NoAnswerError, ServiceError
from fraudengine.loadtest.requests import pool
from fraudengine.loadtest.summary import Sent, Summary

if TYPE_CHECKING:
    from fraudengine.loadtest.plan import Plan

__all__ = ["run"]


def run(plan: Plan) -> Summary:
    """Send the load of a plan and return what came of it.

    Raises
    ------
    NoAnswerError
        No service answers at the address.
    ConfigError
        Address, token or a file of TLS cannot be used.
    """
    service = plan.connection
    tls = None
    if service.tls is not None:
        ca, certificate, key = service.tls.files()
        identity = None if certificate is None or key is None else (certificate, key)
        tls = (ca, identity, service.tls.name)
    try:
        sent = _native.send_load(
            service.address,
            tls=tls,
            authorization=dict(service.metadata()).get("authorization"),
            timeout_seconds=service.timeout_seconds,
            calls=plan.calls,
            concurrency=plan.concurrency,
            rate=plan.rate,
            batch=plan.batch,
            threads=plan.threads,
            warmup_calls=plan.warmup_calls,
            pool=pool(plan.seed, plan.calls * (plan.batch or 1)),
            prefix=f"load-{secrets.token_hex(4)}",
        )
    except ServiceError as error:
        raise NoAnswerError(str(error), status="UNAVAILABLE") from error
    return Summary.of(plan, Sent(*sent))
