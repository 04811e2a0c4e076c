"""Reads what PHP's `serialize()` wrote, as far as REST shows it: scalars and arrays. Objects are never built."""

from __future__ import annotations

from typing import Any

from lettertrail.sandbox.bitrix_methods.php_query import as_json


def unserialize(text: str) -> Any:
    """The value behind a serialized text; an array whose keys are 0, 1, 2 … becomes a list, also an empty one.

    Raises:
        ValueError: when the text is no such value.
    """
    value, end = _value(text.encode(), 0)
    if end != len(text.encode()):
        raise ValueError("something follows the serialized value")
    return as_json(value)


def _value(data: bytes, at: int) -> tuple[Any, int]:
    kind = data[at : at + 1]
    if kind == b"N":
        return None, at + 2
    if kind in {b"b", b"i", b"d"}:
        end = data.index(b";", at)
        plain = data[at + 2 : end].decode()
        return (float(plain) if kind == b"d" else bool(int(plain)) if kind == b"b" else int(plain)), end + 1
    if kind not in {b"s", b"a"}:
        raise ValueError("neither a scalar nor an array")
    colon = data.index(b":", at + 2)
    size = int(data[at + 2 : colon])
    start = colon + 2
    if kind == b"s":
        return data[start : start + size].decode("utf-8", "replace"), start + size + 2
    found: dict[str, Any] = {}
    for _ in range(size):
        key, start = _value(data, start)
        found[str(key)], start = _value(data, start)
    return found, start + 1
