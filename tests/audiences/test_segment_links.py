"""Links to the preference page, sent along with a segment that asks for them."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest
from tests.audiences.fakes import FakeDestination, Warehouse
from tests.audiences.test_published_segments import manifest, model

from lettertrail.audiences.segments import published_segments
from lettertrail.clock import fixed_clock
from lettertrail.errors import ConfigurationError
from lettertrail.preferences.links import Links
from lettertrail.preferences.roster import sign_links

ANN, BOB = "ann@example.com", "bob@example.com"
OLD, NEW = b"o" * 32, b"n" * 32
URL = "https://hooks.example.com"


def sign(warehouse: Warehouse, *secrets: bytes) -> dict[str, dict[str, str]]:
    """Gives Ann links, as the last build knows her; gives them back as attributes."""
    warehouse.execute("create table if not exists marts.mart_preference_page (email text)")
    warehouse.execute("delete from marts.mart_preference_page")
    warehouse.execute("insert into marts.mart_preference_page values (%s)", [ANN])
    sign_links(warehouse.dsn, Links(secrets, URL), clock=fixed_clock(warehouse.now))
    rows = warehouse.query("select email, preferences_url, unsubscribe_url from ops.links")
    return {row.pop("email"): row for row in rows}


def test_links_go_along_once(warehouse: Warehouse) -> None:
    """Whoever has none yet goes without; a new secret sends new ones, and nothing else ever does."""
    warehouse.segment = replace(warehouse.segment, links=True)
    warehouse.fill_segment(ANN, BOB)
    links = sign(warehouse, OLD)
    mailchimp = FakeDestination()
    assert warehouse.sync_segment(mailchimp).applied == 2
    assert mailchimp.attributes == {ANN: links[ANN], BOB: {}}
    assert links[ANN]["preferences_url"].startswith(f"{URL}/preferences/")

    warehouse.later(hours=1)
    sign(warehouse, OLD)
    assert warehouse.sync_segment(mailchimp).planned == 0
    renewed = sign(warehouse, NEW, OLD)
    assert renewed != links
    assert warehouse.sync_segment(mailchimp).planned == 1
    assert mailchimp.attributes[ANN] == renewed[ANN]


def test_a_segment_that_does_not_ask_gets_none(warehouse: Warehouse) -> None:
    """Some services refuse a contact for a field they do not have."""
    warehouse.fill_segment(ANN)
    sign(warehouse, OLD)
    mailchimp = FakeDestination()
    warehouse.sync_segment(mailchimp)
    assert mailchimp.attributes == {ANN: {}}


def test_a_number_without_links_is_no_attribute(warehouse: Warehouse) -> None:
    """Killed between giving numbers and signing: the next run signs."""
    warehouse.segment = replace(warehouse.segment, links=True)
    warehouse.fill_segment(ANN)
    warehouse.execute("insert into ops.links (link_id, email, made_at) values (%s, %s, now())", [uuid4(), ANN])
    mailchimp = FakeDestination()
    warehouse.sync_segment(mailchimp)
    assert mailchimp.attributes == {ANN: {}}


def test_a_segment_says_whether_it_wants_links() -> None:
    """Yes or no, and no by default."""
    asked, silent = published_segments(
        manifest(model("seg_a", {"to": "mailchimp", "links": True}), model("seg_b", {"to": "mailchimp"}))
    )
    assert (asked.links, silent.links) == (True, False)
    with pytest.raises(ConfigurationError, match=r"seg_a: meta\.push\.links is 'yes'"):
        published_segments(manifest(model("seg_a", {"to": "mailchimp", "links": "yes"})))
