"""The published segments: dbt models whose config says where they go.

A segment is one file, `dbt_project/models/segments/seg_<name>.sql`; nothing else lists it:

    {{ config(meta={'push': {'to': ['mailchimp'], 'mode': 'mirror', 'max_removed_pct': 20}}) }}

Keys of `push`:

    to                 ESP accounts (connection ids): `mailchimp`, a second account `mailchimp__b2b`
    mode               mirror (add and remove; the default), upsert (add, never remove for leaving the segment),
                       suppress_only (only take out people who must not be mailed)
    max_removed_pct    the brake: removals of one run, in percent of the confirmed membership (default 20)
    max_removed_rows   the same as a number of people (default: no such limit)
    max_added_pct      new members of one run, in percent of the members (default 50; up to 100 people always may join)
    max_added_rows     the same as a number of people, the first run included (default: no such limit)
    holdout_pct        this share of people is never sent, so that the effect can be measured (default 0)
    audience           the name at the destination (default: the model's name without `seg_`)
    links              send `preferences_url` and `unsubscribe_url` along as attributes, where links are made
                       (docs/preference-centre.md; default false: some services refuse a field they do not have)
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from lettertrail import esps
from lettertrail.errors import ConfigurationError
from lettertrail.warehouse.connect import Connection, connect

log = logging.getLogger(__name__)

MODES = ("mirror", "upsert", "suppress_only")
IDENTITY_COLUMNS = ("email", "person_id")
_PREFIX = "seg_"
_KEYS = frozenset(
    {
        "to", "mode", "max_removed_pct", "max_removed_rows", "max_added_pct", "max_added_rows", "holdout_pct",
        "audience", "links",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Segment:
    """One published segment: a relation with one row per e-mail, and where its people go."""

    name: str
    """The dbt model's name, `seg_inactive_90d`."""
    relation: str
    """`<schema>.<table>` in the warehouse."""
    audience: str
    """What the destination calls it, `inactive_90d`."""
    destinations: tuple[str, ...]
    """Connection ids of ESP accounts."""
    mode: str = "mirror"
    max_removed_pct: float = 20.0
    max_removed_rows: int | None = None
    max_added_pct: float = 50.0
    max_added_rows: int | None = None
    holdout_pct: float = 0.0
    links: bool = False
    attributes: tuple[str, ...] = ()
    """The columns sent along: all but `email` and `person_id`."""


def published_segments(manifest: Mapping[str, Any]) -> list[Segment]:
    """The models of a dbt manifest (1.11) that carry `meta.push`, by name.

    `attributes` are the columns documented in dbt; `publish` replaces them by those the relation has.

    Raises:
        ConfigurationError: naming the model and the key.
    """
    found = [
        _segment(node, push)
        for node in manifest.get("nodes", {}).values()
        if node.get("resource_type") == "model" and (push := _push_config(node)) is not None
    ]
    taken: dict[tuple[str, str], str] = {}
    for segment in found:
        for destination in segment.destinations:
            other = taken.setdefault((destination, segment.audience), segment.name)
            if other != segment.name:
                raise ConfigurationError(
                    f"{segment.name}: meta.push.audience {segment.audience!r} at {destination} "
                    f"is already the audience of {other}"
                )
    return sorted(found, key=lambda segment: segment.name)


def publish(manifest: Mapping[str, Any], warehouse_dsn: str, at: datetime) -> list[Segment]:
    """Makes `ops.segments` say exactly what the manifest says, in one transaction.

    `at` is the time of the build: the brake takes marts for stale when it is long ago.

    Raises:
        ConfigurationError: naming the model and the key, or the relation that lacks a column.
    """
    segments = published_segments(manifest)
    with connect(warehouse_dsn, purpose="publish segments") as connection:
        segments = [replace(segment, attributes=_attributes(connection, segment)) for segment in segments]
        connection.execute("delete from ops.segments")
        connection.cursor().executemany(
            "insert into ops.segments (name, relation, config, published_at) values (%s, %s, %s, %s)",
            [(segment.name, segment.relation, Jsonb(_config(segment)), at) for segment in segments],
        )
    log.info("segments published=%s", len(segments))
    return segments


def read_published(warehouse_dsn: str) -> list[Segment]:
    """The segments of the last `publish`, by name."""
    with connect(warehouse_dsn, purpose="read segments") as connection:
        rows = connection.execute("select name, relation, config from ops.segments order by name").fetchall()
    return [_from_config(name, relation, config) for name, relation, config in rows]


def _push_config(node: Mapping[str, Any]) -> Any:
    """dbt 1.11 keeps meta in the config; older artefacts have it beside the config."""
    for meta in (node.get("config", {}).get("meta"), node.get("meta")):
        if isinstance(meta, Mapping) and "push" in meta:
            return meta["push"]
    return None


def _segment(node: Mapping[str, Any], push: Any) -> Segment:
    name = str(node["name"])
    if not isinstance(push, Mapping):
        raise ConfigurationError(f"{name}: meta.push must be a mapping with at least 'to'")
    for key in push:
        if key not in _KEYS:
            raise ConfigurationError(f"{name}: meta.push.{key} is not known; choose from {', '.join(sorted(_KEYS))}")
    if node.get("config", {}).get("materialized") == "ephemeral":
        raise ConfigurationError(f"{name}: meta.push needs a table or a view, and the model is ephemeral")
    return Segment(
        name=name,
        relation=f"{node['schema']}.{node.get('alias') or name}",
        audience=_audience(name, push.get("audience", name.removeprefix(_PREFIX))),
        destinations=tuple(_destinations(name, push.get("to"))),
        mode=_mode(name, push.get("mode", "mirror")),
        max_removed_pct=_percent(name, "max_removed_pct", push.get("max_removed_pct", 20)),
        max_removed_rows=_rows(name, "max_removed_rows", push.get("max_removed_rows")),
        max_added_pct=_percent(name, "max_added_pct", push.get("max_added_pct", 50), most=10_000),
        max_added_rows=_rows(name, "max_added_rows", push.get("max_added_rows")),
        holdout_pct=_percent(name, "holdout_pct", push.get("holdout_pct", 0)),
        links=_yes_or_no(name, "links", push.get("links", False)),
        attributes=tuple(column for column in node.get("columns", {}) if column not in IDENTITY_COLUMNS),
    )


def _destinations(name: str, value: Any) -> Iterator[str]:
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise ConfigurationError(f"{name}: meta.push.to must list at least one ESP account")
    adapters = esps.names()
    for word in dict.fromkeys(words):
        if word.partition("__")[0] not in adapters:
            raise ConfigurationError(f"{name}: meta.push.to names {word!r}; the adapters are {', '.join(adapters)}")
        yield word


def _audience(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{name}: meta.push.audience must be a name")
    return value


def _mode(name: str, value: Any) -> str:
    if value not in MODES:
        raise ConfigurationError(f"{name}: meta.push.mode is {value!r}; choose from {', '.join(MODES)}")
    return str(value)


def _percent(name: str, key: str, value: Any, *, most: int = 100) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise ConfigurationError(f"{name}: meta.push.{key} is {value!r}; say a number from 0 to {most}")
    return float(value)


def _yes_or_no(name: str, key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name}: meta.push.{key} is {value!r}; say true or false")
    return value


def _rows(name: str, key: str, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ConfigurationError(f"{name}: meta.push.{key} is {value!r}; say a whole number of people")


def _attributes(connection: Connection, segment: Segment) -> tuple[str, ...]:
    """The relation's own columns: the file is the whole definition, documented in YAML or not."""
    schema, _, table = segment.relation.partition(".")
    rows = connection.execute(
        "select column_name from information_schema.columns"
        " where table_schema = %s and table_name = %s order by ordinal_position",
        (schema, table),
    ).fetchall()
    columns = [str(row[0]) for row in rows]
    if missing := [column for column in IDENTITY_COLUMNS if column not in columns]:
        raise ConfigurationError(f"{segment.name}: {segment.relation} lacks {' and '.join(missing)}")
    return tuple(column for column in columns if column not in IDENTITY_COLUMNS)


def _config(segment: Segment) -> dict[str, Any]:
    config = asdict(segment)
    del config["name"], config["relation"]
    return config


def _from_config(name: str, relation: str, config: Mapping[str, Any]) -> Segment:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}
    return Segment(name=name, relation=relation, **values)
