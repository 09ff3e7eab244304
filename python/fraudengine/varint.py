"""Numbers as protobuf has them on the wire, for messages that are put together without being parsed."""

from __future__ import annotations

__all__ = ["varint"]


def varint(value: int) -> bytes:
    """Return a number, 0 or more, with seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
