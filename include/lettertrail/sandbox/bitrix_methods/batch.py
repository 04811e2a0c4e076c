"""`batch`: up to 50 commands in one call; HTTP 200 even when commands fail."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from lettertrail.sandbox.bitrix_methods import php_query
from lettertrail.sandbox.bitrix_methods.portal import Params, Reply, RestError

MAX_COMMANDS = 50
NOT_IN_A_BATCH = ("batch",)

Run = Callable[[str, Params], tuple[Reply, dict[str, Any]]]
"""Carries out one method with its limits; gives the reply and its `time` block."""


def run_batch(params: Params, run: Run) -> Reply:
    """Carries out the commands in order; `halt` stops after the first that fails.

    The answer has `result`, `result_error`, `result_total`, `result_next` and `result_time`, each keyed like `cmd`.
    """
    commands = params.get("cmd")
    if isinstance(commands, list):
        commands = {str(number): command for number, command in enumerate(commands)}
    if not isinstance(commands, Mapping):
        raise RestError("ERROR_BATCH_CMD", "The 'cmd' parameter must be an array of commands.")
    halt = str(params.get("halt", "0")).lower() in {"1", "true", "y"}
    parts: dict[str, dict[str, Any]] = {
        name: {} for name in ("result", "result_error", "result_total", "result_next", "result_time")
    }
    for position, (key, command) in enumerate(commands.items()):
        try:
            reply, time = _run_one(position, command, parts["result"], run)
        except RestError as error:
            parts["result_error"][str(key)] = error.body()
            if halt:
                break
            continue
        parts["result"][str(key)] = reply.result
        parts["result_time"][str(key)] = time
        if reply.total is not None:
            parts["result_total"][str(key)] = reply.total
        if reply.next is not None:
            parts["result_next"][str(key)] = reply.next
    # Only the outer level is a PHP array of ours: what the methods gave must stay as it is.
    return Reply({name: _outer(part) for name, part in parts.items()})


def _outer(part: dict[str, Any]) -> Any:
    return list(part.values()) if list(part) == [str(number) for number in range(len(part))] else part


def _run_one(position: int, command: Any, results: Mapping[str, Any], run: Run) -> tuple[Reply, dict[str, Any]]:
    if position >= MAX_COMMANDS:
        raise RestError("ERROR_BATCH_LENGTH_EXCEEDED", "Max batch length exceeded")
    method, _, query = str(command).partition("?")
    method = method.strip().removesuffix(".json")
    if method.lower() in NOT_IN_A_BATCH:
        raise RestError("ERROR_BATCH_METHOD_NOT_ALLOWED", "Method is not allowed for batch usage")
    return run(method, _with_results(php_query.parse(query), results))


def _with_results(value: Any, results: Mapping[str, Any]) -> Any:
    """Puts earlier results in the place of `$result[key][field]`; a missing one becomes null."""
    if isinstance(value, list):
        return [_with_results(item, results) for item in value]
    if isinstance(value, Mapping):
        return {key: _with_results(item, results) for key, item in value.items()}
    if not isinstance(value, str) or not re.fullmatch(r"\$result(\[[^\]]+\])+", value):
        return value
    found: Any = results
    for key in re.findall(r"\[([^\]]+)\]", value):
        if isinstance(found, Mapping):
            found = found.get(key)
        elif isinstance(found, list) and key.isdigit() and int(key) < len(found):
            found = found[int(key)]
        else:
            return None
    return found


READING = (
    "list",
    "get",
    "fields",
    "findbycomm",
    "current",
    "methods",
    "scope",
    "profile",
    "time",
    "info",
    "text",
    "events",
    "token",
    "authorize",
    "suppressed",
)


def asks_for_change(method: str, path: str, body: Any) -> bool:
    """Whether a request would write something: by its method's last word; a batch by its commands."""
    name = path.rstrip("/").rpartition("/")[2].removesuffix(".json")
    if name.lower() != "batch":
        return _changes(name)
    params = php_query.parse(body) if isinstance(body, str) else body
    commands = params.get("cmd") if isinstance(params, Mapping) else None
    if isinstance(commands, Mapping):
        commands = list(commands.values())
    return isinstance(commands, list) and any(_changes(str(command).partition("?")[0]) for command in commands)


def _changes(name: str) -> bool:
    return name.strip().removesuffix(".json").lower().rpartition(".")[2] not in READING
