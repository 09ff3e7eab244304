"""Clients of the scoring service: typed transactions in, typed decisions out.

`Client` blocks, `AsyncClient` is for asyncio; `fraudengine` has both by the same names.
"""

from __future__ import annotations

from fraudengine.client.asynchronous import AsyncClient
from fraudengine.client.blocking import Client
from fraudengine.client.connection import Tls
from fraudengine.client.no_answer import NoAnswer, OnNoAnswer, by_amount
from fraudengine.client.results import Decision, Reason, Refusal
from fraudengine.client.transaction import Transaction, TransactionFields

__all__ = [
    "AsyncClient",
    "Client",
    "Decision",
    "NoAnswer",
    "OnNoAnswer",
    "Reason",
    "Refusal",
    "Tls",
    "Transaction",
    "TransactionFields",
    "by_amount",
]
