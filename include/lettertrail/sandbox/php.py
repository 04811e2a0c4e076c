"""Writes PHP's `serialize()` format, as Bitrix keeps it in text columns.

Source: https://www.php.net/manual/en/function.serialize.php ; string lengths count bytes, not characters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PhpObject:
    """An object as PHP writes it; see `private` and `protected` for the names of such properties."""

    class_name: str
    properties: Mapping[str, object]


def private(class_name: str, name: str) -> str:
    """The name of a private property: its class between zero bytes stands before it."""
    return f"\0{class_name}\0{name}"


def protected(name: str) -> str:
    """The name of a protected property: a star between zero bytes stands before it."""
    return f"\0*\0{name}"


def serialize(value: object) -> str:
    """`value` as PHP's `serialize()` would write it.

    Takes None, bool, int, float, str, mappings with int or str keys, lists or tuples (arrays keyed from 0), and
    `PhpObject`.

    Raises:
        TypeError: for any other type.
    """
    match value:
        case None:
            text = "N;"
        case bool():
            text = f"b:{int(value)};"
        case int():
            text = f"i:{value};"
        case float():
            text = f"d:{value!r};"
        case str():
            text = f's:{len(value.encode())}:"{value}";'
        case PhpObject():
            items = "".join(serialize(name) + serialize(item) for name, item in value.properties.items())
            text = f'O:{len(value.class_name.encode())}:"{value.class_name}":{len(value.properties)}:{{{items}}}'
        case Mapping():
            text = _array(list(value.items()))
        case Sequence() if not isinstance(value, bytes):
            text = _array(list(enumerate(value)))
        case _:
            raise TypeError(f"PHP has no plain form for {type(value).__name__}")
    return text


def _array(items: Sequence[tuple[object, object]]) -> str:
    parts = []
    for key, value in items:
        if isinstance(key, bool) or not isinstance(key, (int, str)):
            raise TypeError(f"a PHP array key is int or str, not {type(key).__name__}")
        parts.append(serialize(_php_key(key)) + serialize(value))
    return f"a:{len(parts)}:{{{''.join(parts)}}}"


def _php_key(key: int | str) -> int | str:
    # PHP turns "7" into 7 as an array key, but leaves "07", "-0" and what does not fit 64 bits alone.
    if isinstance(key, str) and re.fullmatch(r"0|-?[1-9][0-9]{0,18}", key) and abs(int(key)) < 2**63:
        return int(key)
    return key
