"""PHP's reading of `a[b][]=c` and PHP's idea of a list, which shape what Bitrix takes and gives."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl


def parse(text: str) -> dict[str, Any]:
    """What PHP's `parse_str` makes of a query or a form body; arrays that are lists come out as lists."""
    tree: dict[str, Any] = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        match = re.match(r"^([^\[]+)((?:\[[^\]]*\])*)", key)
        if match is None:
            continue
        path = [match[1].strip(), *re.findall(r"\[([^\]]*)\]", match[2])]
        _put(tree, path, value)
    return {key: as_json(value) for key, value in tree.items()}


def _put(node: dict[str, Any], path: list[str], value: str) -> None:
    key = path[0] or str(1 + max((int(name) for name in node if name.isdigit()), default=-1))
    if len(path) == 1:
        node[key] = value
        return
    below = node.get(key)
    if not isinstance(below, dict):
        below = node[key] = {}
    _put(below, path[1:], value)


def as_json(value: Any) -> Any:
    """A PHP array as `json_encode` writes it: keys 0, 1, 2 … make a list, also when there are none."""
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    if list(value) == [str(number) for number in range(len(value))]:
        return [as_json(item) for item in value.values()]
    return {key: as_json(item) for key, item in value.items()}
