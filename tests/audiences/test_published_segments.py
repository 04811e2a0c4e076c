"""Segments are found in the manifest, checked, and published as a whole."""

from __future__ import annotations

from typing import Any

import pytest
from tests.audiences.fakes import NOON, Warehouse

from lettertrail.audiences.segments import Segment, publish, published_segments, read_published
from lettertrail.errors import ConfigurationError


def model(name: str, push: Any = None, **node: Any) -> dict[str, Any]:
    """A model node as dbt 1.11 writes it."""
    meta = {} if push is None else {"push": push}
    return {
        "resource_type": "model",
        "name": name,
        "alias": name,
        "schema": "segments",
        "columns": {},
        "meta": meta,
        "config": {"materialized": "table", "meta": meta},
        **node,
    }


def manifest(*nodes: dict[str, Any]) -> dict[str, Any]:
    return {"nodes": {f"model.lettertrail.{node['name']}": node for node in nodes}}


def test_finds_models_that_say_where_they_go() -> None:
    """Only models with meta.push are segments; what is not said has a safe default."""
    found = published_segments(
        manifest(
            model("dim_person"),
            model("seg_lapsed", {"to": "mailchimp"}),
            model("seg_big", {"to": ["mailchimp", "mailchimp__b2b"], "mode": "upsert", "max_removed_rows": 5}),
        )
    )

    assert found == [
        Segment(
            "seg_big",
            "segments.seg_big",
            "big",
            ("mailchimp", "mailchimp__b2b"),
            mode="upsert",
            max_removed_rows=5,
        ),
        Segment("seg_lapsed", "segments.seg_lapsed", "lapsed", ("mailchimp",)),
    ]


@pytest.mark.parametrize("place", ["config", "meta"])
def test_meta_counts_in_the_config_and_beside_it(place: str) -> None:
    """dbt has moved meta into config; both places are read."""
    node = model("seg_lapsed", {"to": ["mailchimp"]})
    node["meta" if place == "config" else "config"] = {}

    assert [segment.name for segment in published_segments(manifest(node))] == ["seg_lapsed"]


@pytest.mark.parametrize(
    ("push", "said"),
    [
        ({}, "meta.push.to"),
        ({"to": []}, "meta.push.to"),
        ({"to": ["pigeon"]}, "meta.push.to names 'pigeon'"),
        ({"to": ["mailchimp"], "mode": "replace"}, "meta.push.mode is 'replace'"),
        ({"to": ["mailchimp"], "max_removed_pct": 120}, "meta.push.max_removed_pct is 120"),
        ({"to": ["mailchimp"], "max_removed_pct": "20"}, "meta.push.max_removed_pct is '20'"),
        ({"to": ["mailchimp"], "max_removed_rows": -1}, "meta.push.max_removed_rows is -1"),
        ({"to": ["mailchimp"], "holdout_pct": True}, "meta.push.holdout_pct is True"),
        ({"to": ["mailchimp"], "audience": ""}, "meta.push.audience"),
        ({"to": ["mailchimp"], "max_removed": 20}, "meta.push.max_removed is not known"),
        ("mailchimp", "meta.push must be a mapping"),
    ],
)
def test_mistakes_name_the_model_and_the_key(push: Any, said: str) -> None:
    """The author reads which file and which word to mend."""
    with pytest.raises(ConfigurationError, match=f"^seg_lapsed: {said}"):
        published_segments(manifest(model("seg_lapsed", push)))


def test_an_ephemeral_model_cannot_be_pushed() -> None:
    """There would be no relation to read."""
    node = model("seg_lapsed", {"to": ["mailchimp"]})
    node["config"]["materialized"] = "ephemeral"

    with pytest.raises(ConfigurationError, match="ephemeral"):
        published_segments(manifest(node))


def test_two_segments_cannot_share_an_audience() -> None:
    """They would undo each other at every run."""
    with pytest.raises(ConfigurationError, match=r"seg_b: .*'a'.*seg_a"):
        published_segments(
            manifest(model("seg_a", {"to": ["mailchimp"]}), model("seg_b", {"to": ["mailchimp"], "audience": "a"}))
        )


def test_publishing_replaces_the_whole_set(warehouse: Warehouse) -> None:
    """A segment whose file is gone is gone, and attributes are the relation's own columns."""
    warehouse.execute("alter table segments.seg_lapsed add column city text")
    warehouse.execute("insert into ops.segments values ('seg_gone', 'segments.seg_gone', '{}', now())")

    publish(manifest(model("seg_lapsed", {"to": ["mailchimp"], "holdout_pct": 12.5})), warehouse.dsn, at=NOON)

    assert read_published(warehouse.dsn) == [
        Segment(
            "seg_lapsed",
            "segments.seg_lapsed",
            "lapsed",
            ("mailchimp",),
            holdout_pct=12.5,
            attributes=("city",),
        )
    ]
    assert warehouse.query("select published_at from ops.segments") == [{"published_at": NOON}]


def test_a_relation_without_identity_is_not_published(warehouse: Warehouse) -> None:
    """The former set stays when one segment is wrong."""
    warehouse.execute("alter table segments.seg_lapsed drop column person_id")

    with pytest.raises(ConfigurationError, match=r"seg_lapsed: segments.seg_lapsed lacks person_id"):
        publish(manifest(model("seg_lapsed", {"to": ["mailchimp"]})), warehouse.dsn, at=NOON)

    assert len(warehouse.query("select * from ops.segments")) == 1
