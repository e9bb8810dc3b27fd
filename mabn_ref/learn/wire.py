"""What goes between a student's process and ours: a description in JSON and the raw numbers of arrays, in frames.

Nothing in a frame is executed or unpickled. Both sides import this file, so it needs the standard library alone.
"""

from __future__ import annotations

import json
import struct
from collections import namedtuple
from collections.abc import Callable
from types import ModuleType
from typing import Any, BinaryIO

__all__ = ["Unsendable", "arrays", "decode", "encode", "plain_named", "read", "write"]

_ARRAY = ("<f4", "<f8", "<c8", "<c16", "|b1", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8")


class Unsendable(TypeError):
    """A value that is no array, number, word, or tuple, list or dict of them."""


def encode(
    value: Any, array_type: type, functions: list[Callable[..., Any]] | None = None
) -> tuple[Any, list[bytes]]:
    """Describe a value; `functions` collects the callables in it, which without it are refused."""
    buffers: list[bytes] = []
    return _described(value, array_type, buffers, functions, 0), buffers


def _described(
    value: Any, array_type: type, buffers: list[bytes], functions: list[Callable[..., Any]] | None, depth: int
) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return {"value": value}
    if depth > 20:
        raise Unsendable("a value nested more than 20 deep")
    if isinstance(value, array_type) or (hasattr(value, "dtype") and hasattr(value, "tobytes")):
        kind = value.dtype.newbyteorder("<").str
        if kind not in _ARRAY:
            raise Unsendable(f"an array of dtype {value.dtype}")
        buffers.append(value.astype(kind).tobytes())
        return {"array": [kind, list(value.shape), len(buffers) - 1]}

    def inner(item: Any) -> Any:
        return _described(item, array_type, buffers, functions, depth + 1)

    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {"named": type(value).__name__, "fields": list(value._fields), "items": [inner(v) for v in value]}
    if isinstance(value, tuple):
        return {"tuple": [inner(v) for v in value]}
    if isinstance(value, list):
        return {"list": [inner(v) for v in value]}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: inner(v) for key, v in value.items()}}
    if callable(value) and functions is not None:
        functions.append(value)
        return {"function": len(functions) - 1}
    raise Unsendable(f"a {type(value).__name__}")


def arrays(value: Any, array_type: type) -> list[Any]:
    """All arrays in a value."""
    if isinstance(value, array_type):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return [array for item in inner for array in arrays(item, array_type)]


def decode(
    tree: Any,
    buffers: list[bytes],
    numpy: ModuleType,
    named: Callable[[str, list[str]], Callable[..., Any]],
    function: Callable[[int], Any],
) -> Any:
    """Undo `encode`; `named` makes the class of a named tuple, `function` stands in for a callable."""

    def inner(tree: Any) -> Any:
        kind, content = next(iter(tree.items()))
        if kind == "value":
            return content
        if kind == "array":
            dtype, shape, k = content
            if dtype not in _ARRAY:
                raise ValueError(f"dtype is {dtype!r}")
            array = numpy.frombuffer(buffers[k], dtype=dtype).reshape([int(n) for n in shape])
            return array.copy() if shape else array.copy()[()]
        if kind == "named":
            return named(content, tree["fields"])(*map(inner, tree["items"]))
        if kind == "tuple":
            return tuple(map(inner, content))
        if kind == "list":
            return list(map(inner, content))
        if kind == "dict":
            return {key: inner(value) for key, value in content.items()}
        if kind == "function":
            return function(content)
        raise ValueError(f"unknown kind {kind!r}")

    return inner(tree)


def plain_named(name: str, fields: list[str]) -> Callable[..., Any]:
    """A named tuple of these fields, or a plain tuple where they cannot be names."""
    try:
        made: Callable[..., Any] = namedtuple(name, fields)  # type: ignore[misc]
    except ValueError:
        return lambda *items: items
    return made


def write(stream: BinaryIO, message: dict[str, Any], buffers: list[bytes]) -> None:
    """Write one frame: two lengths, the description with the arrays' lengths, the arrays."""
    head = json.dumps({**message, "lengths": [len(buffer) for buffer in buffers]}).encode()
    stream.write(struct.pack("<QQ", len(head), sum(map(len, buffers))))
    stream.write(head)
    for buffer in buffers:
        stream.write(buffer)
    stream.flush()


def read(stream: BinaryIO, limit: int) -> tuple[dict[str, Any], list[bytes]]:
    """Read one frame.

    Raises
    ------
    EOFError
        If the stream ends.
    ValueError
        If the frame has more than `limit` bytes, or is none.
    """
    head, rest = struct.unpack("<QQ", _exactly(stream, 16))
    if head + rest > limit:
        raise ValueError(f"a frame of {head + rest} bytes, expected at most {limit}")
    message = json.loads(_exactly(stream, head))
    body, buffers, start = _exactly(stream, rest), [], 0
    if not isinstance(message, dict) or not isinstance(message.get("lengths"), list):
        raise ValueError("no frame")
    for length in message["lengths"]:
        buffers.append(body[start : start + length])
        start += length
    return message, buffers


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data
