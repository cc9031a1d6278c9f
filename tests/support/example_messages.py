"""One packet of every message, made from the schemas: what is valid, to start from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter

from cim_hal.protocol.wire import messages
from cim_hal.protocol.wire.packet import Kind, Packet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cim_hal.protocol.wire.messages import Message

__all__ = ["example_packets"]

Schema = dict[str, Any]

_WORDS = {r"^[0-9a-f]{32}$": "0" * 32, r"^sha256:[0-9a-f]{64}$": "sha256:" + "0" * 64}


def example_packets(session: str = "") -> Iterator[Packet]:
    """Yield each request, reply and event twice: with the least fields, and with all of them.

    Parameters
    ----------
    session : str
        Token for the requests.
    """
    requests, replies = messages.REQUESTS, messages.REPLIES
    events = (messages.Event,)
    sides = ((Kind.REQUEST, requests), (Kind.REPLY, replies), (Kind.EVENT, events))
    for kind, classes in sides:
        for cls in classes:
            for is_full in (False, True):
                body = _example(cls, is_full=is_full)
                arrays = (np.arange(12, dtype=np.uint8),) * cls.buffers[0 if not is_full else 1]
                yield Packet(kind, bytes(16), body, session * (kind is Kind.REQUEST), arrays)


def _example(cls: type[Message], *, is_full: bool) -> Message:
    adapter: TypeAdapter[Any] = TypeAdapter(cls)
    schema = adapter.json_schema()
    values = _value(schema, schema.get("$defs", {}), is_full=is_full)
    try:
        return adapter.validate_python(values)
    except ValueError:  # its fields do not go together: the least it takes
        return adapter.validate_python(_value(schema, schema.get("$defs", {}), is_full=False))


def _value(schema: Schema, parts: Mapping[str, Schema], *, is_full: bool) -> Any:
    if "$ref" in schema:
        return _value(parts[schema["$ref"].rpartition("/")[2]], parts, is_full=is_full)
    if "anyOf" in schema:
        return _value(schema["anyOf"][0], parts, is_full=is_full)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[-1 if is_full else 0])
    if schema["type"] == "object":
        fields, required = schema.get("properties", {}), schema.get("required", [])
        names = [name for name in fields if name == "t" or is_full or name in required]
        return {name: _value(fields[name], parts, is_full=is_full) for name in names}
    if schema["type"] == "array":
        least = max(schema.get("minItems", 0), int(is_full))
        items = schema.get("prefixItems") or [schema["items"]] * least
        return tuple(_value(item, parts, is_full=is_full) for item in items)
    return _scalar(schema, is_full=is_full)


def _scalar(schema: Schema, *, is_full: bool) -> Any:
    scalars = {
        "string": _WORDS.get(schema.get("pattern", ""), "a" * max(schema.get("minLength", 0), 1)),
        "integer": max(schema.get("minimum", 0), schema.get("exclusiveMinimum", -1) + 1),
        "number": float(max(schema.get("minimum", 0.5), schema.get("exclusiveMinimum", 0) + 0.5)),
        "boolean": is_full,
    }
    return scalars.get(schema["type"])
