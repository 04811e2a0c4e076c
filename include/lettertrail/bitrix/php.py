"""Reads PHP's `serialize()` format, in bytes, and writes it as JSON. Nothing is ever instantiated.

Format: https://www.php.net/manual/en/function.serialize.php . Lengths in it count bytes of the character set the site
had when it wrote the value, so the caller must hand over the column's own bytes, before any conversion and with
their zero bytes.

A parser of our own because there is none to take: `phpserialize` 1.3 is of 2016 and refuses an object unless a hook
builds one (its issues 31 and 33); `libphpserialize`, written to replace it, fails on texts that are not ASCII (its
issue 2).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Container
from typing import TypeAlias

from lettertrail.errors import PhpSyntaxError

MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 100
CLASS = "__class"
"""The JSON key with an object's class name; it wins over a property of that name."""
DATA = "__data"
"""The JSON key with what a class that serializes itself (`C:`) wrote, unread."""
CASE = "__case"
"""The JSON key with the name of an enum's case."""

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

_STRING, _INTEGER, _ARRAY, _NULL, _BOOLEAN, _FLOAT, _REFERENCE, _OBJECT, _ESCAPED, _ENUM, _CUSTOM = range(1, 12)
# One alternative per kind, the frequent ones first; a match's `lastindex` is the kind. Numbers have a length limit
# because Python refuses to read longer ones, and takes its time before.
_token = re.compile(
    rb's:(\d{1,9}):"'
    rb"|i:([+-]?\d{1,20});"
    rb"|a:(\d{1,9}):\{"
    rb"|(N);"
    rb"|b:([01]);"
    rb"|d:([+-]?(?:INF|NAN|(?:\d{1,400}\.?\d{0,400}|\.\d{1,400})(?:[eE][+-]?\d{1,4})?));"
    rb"|[Rr]:(\d{1,9});"
    rb"|O:(\d{1,9}):\""
    rb"|S:(\d{1,9}):\""
    rb"|E:(\d{1,9}):\""
    rb"|C:(\d{1,9}):\""
).match
_count = re.compile(rb":(\d{1,9}):\{").match
_escape = re.compile(rb"\\([0-9a-fA-F]{2})|([^\\])", re.DOTALL).match
_to_text = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")).encode


def to_json(data: bytes) -> str:
    """The JSON of one serialized value, fit for PostgreSQL's jsonb.

    Arrays whose keys are 0, 1, 2 … in this order become lists (also an empty one), others objects. An object becomes
    `{"__class": name, property: value, …}`, its private and protected properties under their bare names. References
    (`R`, `r`) become null, and so do NAN and INF. Zero bytes go, since jsonb holds none. A string that is not UTF-8 is
    read as cp1251, byte 0x98, which that set does not have, as U+FFFD.

    A value whose lengths fit no byte of it, but fit once it is turned back into cp1251, is read like that: sites that
    were converted to UTF-8 still hold such values.

    Raises:
        PhpSyntaxError: with the reason and the byte where, never with the text.
    """
    if len(data) > MAX_BYTES:
        raise PhpSyntaxError(f"longer than {MAX_BYTES} bytes")
    try:
        return _to_text(_read(data))
    except PhpSyntaxError:
        earlier = _before_conversion(data)
        if earlier is None:
            raise
        try:
            return _to_text(_read(earlier))
        except PhpSyntaxError:
            pass
        raise


def _before_conversion(data: bytes) -> bytes | None:
    """The bytes a converted value had as cp1251; None when it cannot have been that."""
    if data.isascii():
        return None
    try:
        return data.decode().encode("cp1251")
    except UnicodeError:
        return None


def _read(data: bytes) -> Json:
    value, position = _value(data, 0, MAX_DEPTH)
    if position != len(data):
        raise PhpSyntaxError(f"more bytes after the value, from byte {position}")
    return value


def _value(data: bytes, position: int, depth: int) -> tuple[Json, int]:
    """The value at `position`, and the position behind it."""
    found = _token(data, position)
    if found is None:
        raise PhpSyntaxError(f"no value at byte {position}")
    kind = found.lastindex
    text: bytes = found[kind]  # type: ignore[index]  # every alternative has its group
    position = found.end()
    value: Json = None
    if kind == _STRING:
        return _string(data, position, int(text))
    if kind == _INTEGER:
        value = int(text)
    elif kind == _ARRAY:
        items, position = _items(data, position, int(text), depth)
        return _list_or_object(items), position
    elif kind == _BOOLEAN:
        value = text == b"1"
    elif kind == _FLOAT:
        number = float(text)
        value = number if math.isfinite(number) else None
    elif kind not in {_NULL, _REFERENCE}:
        return _rare(data, position, kind, int(text), depth)
    return value, position


def _string(data: bytes, position: int, length: int, closing: bytes = b'";') -> tuple[str, int]:
    end = position + length
    after = end + len(closing)
    if data[end:after] != closing:
        raise PhpSyntaxError(f"the string at byte {position} is not {length} bytes long")
    return _text(data[position:end]), after


def _text(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("cp1251", "replace")
    return text.replace("\0", "") if "\0" in text else text


def _items(data: bytes, position: int, count: int, depth: int) -> tuple[dict[str, Json], int]:
    """The pairs of an array or an object, keys as text: PHP itself makes no difference between 7 and "7"."""
    if depth == 0:
        raise PhpSyntaxError(f"nested deeper than {MAX_DEPTH}")
    items: dict[str, Json] = {}
    for _ in range(count):
        found = _token(data, position)
        kind = None if found is None else found.lastindex
        if found is not None and kind == _STRING:
            key, position = _string(data, found.end(), int(found[_STRING]))
            if data[found.end() : found.end() + 1] == b"\0":
                key = _bare(data[found.end() : position - 2], items)
        elif found is not None and kind == _INTEGER:
            key, position = str(int(found[_INTEGER])), found.end()
        elif found is not None and kind == _ESCAPED:
            key, position = _escaped(data, found.end(), int(found[_ESCAPED]))
        else:
            raise PhpSyntaxError(f"no key at byte {position}")
        items[key], position = _value(data, position, depth - 1)
    if data[position : position + 1] != b"}":
        raise PhpSyntaxError(f"no end of {count} pairs at byte {position}")
    return items, position + 1


def _bare(key: bytes, taken: Container[str]) -> str:
    """The name in `\\0class\\0name` (private) or `\\0*\\0name` (protected), with the class where the name is taken."""
    owner, _, name = key[1:].partition(b"\0")
    bare = _text(name)
    return bare if bare not in taken else f"{_text(owner)}::{bare}"


def _list_or_object(items: dict[str, Json]) -> Json:
    if "0" not in items and items:
        return items
    for number, key in enumerate(items):
        if key != str(number):
            return items
    return list(items.values())


def _rare(data: bytes, position: int, kind: int | None, length: int, depth: int) -> tuple[Json, int]:
    """Objects, enums and strings with escapes."""
    if kind == _ESCAPED:
        return _escaped(data, position, length)
    if kind == _ENUM:
        name, position = _string(data, position, length)
        class_name, _, case = name.partition(":")
        return {CLASS: class_name, CASE: case}, position
    class_name, position = _string(data, position, length, closing=b'"')
    found = _count(data, position)
    if found is None:
        raise PhpSyntaxError(f"no length at byte {position}")
    if kind == _OBJECT:
        properties, position = _items(data, found.end(), int(found[1]), depth)
        return {CLASS: class_name} | properties | {CLASS: class_name}, position
    written, position = _string(data, found.end(), int(found[1]), closing=b"}")
    return {CLASS: class_name, DATA: written}, position


def _escaped(data: bytes, position: int, length: int) -> tuple[str, int]:
    """`S:` of PHP 6 writes some bytes as a backslash and two hexadecimal digits; the length counts what they mean."""
    raw = bytearray()
    for _ in range(length):
        found = _escape(data, position)
        if found is None:
            raise PhpSyntaxError(f"no byte of an escaped string at byte {position}")
        raw += bytes.fromhex(found[1].decode()) if found.lastindex == 1 else found[2]
        position = found.end()
    if data[position : position + 2] != b'";':
        raise PhpSyntaxError(f"the escaped string before byte {position} is not {length} bytes long")
    return _text(bytes(raw)), position + 2
