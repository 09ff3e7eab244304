"""How a call is refused: a status with details that a program can read (google.rpc.Status)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

if TYPE_CHECKING:
    from google.protobuf.message import Message

__all__ = ["DOMAIN", "CallError", "InvalidError", "bad_request", "refuse", "retry_later", "trailing"]

DOMAIN = "fraudengine"
"""Domain of every `google.rpc.ErrorInfo`."""

_DETAILS = "grpc-status-details-bin"


class CallError(Exception):
    """Ends a call with a status, its reason (stable, capitals) and further details.

    Parameters
    ----------
    code
        Status of the call.
    reason
        Of its `google.rpc.ErrorInfo`.
    message
        One line for people.
    details
        Further messages.

    """

    def __init__(self, code: grpc.StatusCode, reason: str, message: str, *details: Message) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.details = details


class InvalidError(CallError):
    """A field of a request breaks its rule; an empty field stands for the request as a whole."""

    def __init__(self, field: str, reason: str, message: str) -> None:
        details = [bad_request(field, message)] if field else []
        super().__init__(grpc.StatusCode.INVALID_ARGUMENT, reason, message, *details)


async def refuse(
    context: grpc.aio.ServicerContext, code: grpc.StatusCode, reason: str, message: str, *details: Message
) -> NoReturn:
    """End the call with a status, its reason (stable, capitals) and further details."""
    told = tuple(context.trailing_metadata() or ())
    await context.abort(code, message, (*told, *trailing(code, reason, message, *details)))
    raise AssertionError("a call goes on after its end")


def trailing(code: grpc.StatusCode, reason: str, message: str, *details: Message) -> tuple[tuple[str, bytes]]:
    """Return the trailing metadata that carry a status with its reason and further details."""
    packed = []
    for detail in (ErrorInfo(reason=reason, domain=DOMAIN), *details):
        each = AnyMessage()
        each.Pack(detail)
        packed.append(each)
    number = code.value[0]
    status = Status(code=number, message=message, details=packed)
    return ((_DETAILS, status.SerializeToString()),)


def bad_request(field: str, message: str) -> BadRequest:
    """Return the detail that names the field at fault."""
    return BadRequest(field_violations=[BadRequest.FieldViolation(field=field, description=message)])


def retry_later(seconds: float) -> RetryInfo:
    """Return the detail that says when to come again."""
    return RetryInfo(retry_delay=Duration(nanos=int(seconds * 1e9) % 1_000_000_000, seconds=int(seconds)))
