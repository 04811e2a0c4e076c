"""Who left since the marts were built is not mailed either: known from the raw tables, before any build."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

import pytest
from psycopg.types.json import Jsonb
from tests.audiences.fakes import NOON, FakeDestination, Warehouse
from tests.push_ledger import sync_role

ANN = "ann@example.com"
SOON = timedelta(minutes=1)


def told_by_service(
    warehouse: Warehouse,
    email: str,
    event_type: str = "unsubscribed",
    *,
    at: datetime = NOON + SOON,
    loaded: datetime = NOON + SOON,
    bounce_kind: str | None = None,
) -> None:
    """A load that ended at `loaded` brought this event of that moment."""
    (load,) = warehouse.query(
        "insert into ops.loads (run_id, target, strategy, read, inserted, updated, unchanged, quarantined, deleted,"
        " started_at, finished_at)"
        " values ('run', 'raw_esp.events', 'merge', 1, 1, 0, 0, 0, 0, %(at)s, %(at)s) returning load_id",
        {"at": loaded},
    )
    warehouse.execute(
        "insert into raw_esp.events (esp, account, external_id, email, event_type, bounce_kind, occurred_at, payload,"
        " _row_hash, _loaded_at, _load_id) values ('sendpulse', 'sendpulse', %s, %s, %s, %s, %s, '{}', 0, %s, %s)",
        [uuid.uuid4().hex, email, event_type, bounce_kind, at, loaded, load["load_id"]],
    )


def told_by_site(warehouse: Warehouse, email: str, event_type: str = "unsubscribe") -> None:
    warehouse.execute(
        "insert into raw_inbox.site_events (account, event_id, event_type, occurred_at, data, _loaded_at, _load_id)"
        " values ('bitrix_site', %s, %s, %s, %s, %s, 1)",
        [uuid.uuid4().hex, event_type, NOON + SOON, Jsonb({"email": email}), NOON + SOON],
    )


def chosen(warehouse: Warehouse, email: str, *wanted: str, at: datetime = NOON + SOON) -> None:
    """On the page; nothing wanted is leaving."""
    warehouse.execute(
        "insert into raw_inbox.choice_texts (text_version, language, text, first_used_at)"
        " values ('v1', 'en', 'text', %s) on conflict do nothing",
        [NOON],
    )
    warehouse.execute(
        "insert into raw_inbox.choices (link_id, email, way, wanted, offered, text_version, chosen_at)"
        " values (%s, %s, 'page', %s, %s, 'v1', %s)",
        [uuid.uuid4(), email, Jsonb(list(wanted)), Jsonb(["company_news"]), at],
    )


def told(warehouse: Warehouse) -> set[str]:
    """Whom a push suppresses at a service that has Ann on its lists."""
    warehouse.contact(ANN)
    warehouse.now = NOON + 2 * SOON
    mailchimp = FakeDestination()
    warehouse.sync_suppressions(mailchimp)
    return mailchimp.marked


@pytest.mark.parametrize(
    ("event_type", "bounce_kind", "is_leaving"),
    [
        ("unsubscribed", None, True),
        ("complained", None, True),
        ("bounced", "hard", True),
        ("bounced", "soft", False),
        ("opened", None, False),
    ],
)
def test_what_a_service_told(
    warehouse: Warehouse, event_type: str, bounce_kind: str | None, *, is_leaving: bool
) -> None:
    """However the address is spelled there."""
    told_by_service(warehouse, " Ann@Example.com ", event_type, bounce_kind=bounce_kind)
    assert told(warehouse) == ({ANN} if is_leaving else set())


def test_what_the_site_told(warehouse: Warehouse) -> None:
    """An unsubscription of a letter that Bitrix sent itself."""
    told_by_site(warehouse, ANN)
    assert told(warehouse) == {ANN}


def test_other_events_of_a_site_are_none_of_it(warehouse: Warehouse) -> None:
    """Nor is an order, whoever made it."""
    told_by_site(warehouse, ANN, "subscribe")
    assert told(warehouse) == set()


def test_who_left_on_the_page(warehouse: Warehouse) -> None:
    """Altogether, that is."""
    chosen(warehouse, ANN)
    assert told(warehouse) == {ANN}


def test_who_chose_something_has_not_left(warehouse: Warehouse) -> None:
    """Categories are told to the services by another push."""
    chosen(warehouse, ANN, "company_news")
    assert told(warehouse) == set()


def test_who_came_back_meanwhile_is_the_models_to_judge(warehouse: Warehouse) -> None:
    """The later word counts."""
    told_by_service(warehouse, ANN)
    chosen(warehouse, ANN, "company_news", at=NOON + 2 * SOON)
    assert told(warehouse) == set()


def test_what_the_marts_know_is_theirs(warehouse: Warehouse) -> None:
    """They may have found a later consent: what was loaded before them is not looked at."""
    told_by_service(warehouse, ANN, at=NOON - 2 * SOON, loaded=NOON - SOON)
    assert told(warehouse) == set()


def test_old_news_waits_for_the_models(warehouse: Warehouse) -> None:
    """An account that is read for the first time brings years of departures, and who came back since."""
    told_by_service(warehouse, ANN, at=NOON - timedelta(days=2))
    assert told(warehouse) == set()


def test_a_segment_leaves_them_out_too(warehouse: Warehouse) -> None:
    """Nobody is put into an audience minutes after leaving."""
    warehouse.fill_segment(ANN, "bob@example.com")
    told_by_service(warehouse, ANN)
    mailchimp = FakeDestination()
    warehouse.sync_segment(mailchimp)
    assert mailchimp.audiences["lapsed"] == {"bob@example.com"}


def test_the_role_that_pushes_may_see_it(warehouse: Warehouse) -> None:
    """And no more of those tables than it needs."""
    warehouse.sync_dsn = sync_role(warehouse.dsn)
    told_by_service(warehouse, ANN)
    assert told(warehouse) == {ANN}
