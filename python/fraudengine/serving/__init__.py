"""Scoring over gRPC: the server, one module a service, and what guards it."""

from __future__ import annotations

from fraudengine.serving.server import ScoringServer

__all__ = ["ScoringServer"]
