"""The areas of the catalogue: the parts that are copied one after the other or side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter

from lettertrail.bitrix.catalog import TableEntry
from lettertrail.errors import ConfigurationError


def areas(entries: Iterable[TableEntry]) -> dict[str, tuple[str, ...]]:
    """Area -> the areas it waits for, because their changes tell it what to re-read; those come first.

    Raises:
        ConfigurationError: two areas wait for each other.
    """
    area_of = {entry.name: entry.area for entry in entries}
    graph: dict[str, set[str]] = {area: set() for area in area_of.values()}
    for entry in entries:
        others = {area_of[trigger.table] for trigger in entry.touched_by if trigger.table in area_of}
        graph[entry.area] |= others - {entry.area}
    try:
        ordered = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise ConfigurationError(f"areas wait for each other: {' → '.join(error.args[1])}") from None
    return {area: tuple(sorted(graph[area])) for area in ordered}


def tables_of(area: str, entries: Sequence[TableEntry]) -> list[TableEntry]:
    """The area's tables in the order to copy them: what tells others what to re-read comes first.

    Raises:
        ConfigurationError: two tables wait for each other.
    """
    own = {entry.name: entry for entry in entries if entry.area == area}
    graph = {name: {trigger.table for trigger in entry.touched_by} & own.keys() - {name} for name, entry in own.items()}
    try:
        return [own[name] for name in TopologicalSorter(graph).static_order()]
    except CycleError as error:
        raise ConfigurationError(f"tables wait for each other: {' → '.join(error.args[1])}") from None
