"""Consents, preferences, suppression scopes, disagreements and segments against the raw tables, row by row."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import psycopg
import pytest
from tests.conftest import WORLD_AS_OF
from tests.dbt import independent_audience as audience
from tests.dbt.conftest import Built
from tests.dbt.dbt_runs import RUN_AT, RepeatedDbt, new_load
from tests.dbt.independent import Raw, dead_mailboxes
from tests.dbt.independent_audience import CATEGORIES, People

AT = datetime.fromisoformat(RUN_AT).astimezone(UTC)
SEGMENTS = (
    "abandoned_cart",
    "birthday_7d",
    "buyers",
    "company_news",
    "event_invitations",
    "inactive_90d",
    "no_opens_180d",
    "opened_silent_3d",
    "product_updates",
    "sales_and_discounts",
    "vip",
)
BOUNCE_SOFTLY = """
    insert into raw_esp.events (
        esp, account, external_id, campaign_id, email, event_type, bounce_kind, occurred_at, payload,
        _row_hash, _loaded_at, _load_id
    )
    select esp, account, 'soft ' || external_id, campaign_id, email, 'bounced', 'soft', occurred_at, '{}',
        0, _loaded_at, %s
    from (
        select
            *,
            row_number() over (partition by email order by occurred_at desc) as place,
            dense_rank() over (order by email) as person
        from raw_esp.events
        where event_type = 'sent'
            and email in (
                select email from raw_esp.events group by email
                having count(*) filter (where event_type = 'sent') >= 4
                    and count(*) filter (where event_type = 'bounced') = 0
            )
    ) as sends
    where person <= 10 and place <= case when person <= 5 then 4 else 2 end
"""


@pytest.fixture(scope="module")
def who(built: Built) -> People:
    """Who is who, as built."""
    return audience.people(built.dsn)


@pytest.fixture(scope="module")
def raw(built: Built) -> Raw:
    """The raw tables."""
    return Raw(built.dsn)


def column(built: Built, query: str) -> set[str]:
    """The values of a query's one column."""
    return {next(iter(row.values())) for row in built.rows(query)}


def test_preferences_agree(built: Built, raw: Raw, who: People) -> None:
    """Everybody has all four categories; what anybody said is in them, and nothing else."""
    expected = audience.preferences(raw, who)
    rows = {(row["person_id"], row["category"]): row for row in built.rows("select * from marts.dim_preference")}
    assert rows.keys() == {(person, category) for person in who.rows for category in CATEGORIES}
    assert {key: row["state"] for key, row in rows.items() if row["state"] != "unknown"} == expected
    states = Counter(row["state"] for row in rows.values())
    assert min(states[state] for state in ("subscribed", "unsubscribed", "unknown")) > 20
    assert {row["source"] for row in rows.values()} == {"bitrix", "mailchimp", None}


def test_a_category_refused_is_a_scope(built: Built, raw: Raw, who: People) -> None:
    """Exactly the addresses of those who do not want a category are suppressed for it."""
    refused = {key for key, state in audience.preferences(raw, who).items() if state == "unsubscribed"}
    expected = {(address, category) for address, person in who.of_email.items() for category in CATEGORIES
                if (person, category) in refused}  # fmt: skip
    found = {
        (row["email"], row["scope"])
        for row in built.rows(
            "select * from marts.dim_suppression where scope not in ('everything', 'regular_letters')"
        )
    }
    assert found == expected != set()


def test_consents_agree(built: Built, raw: Raw, who: People) -> None:
    """State and newest consent of every address about which anybody said anything."""
    rows = {row["email"]: (row["state"], row["consented_at"]) for row in built.rows("select * from marts.dim_consent")}
    assert rows == audience.consents(raw, who)
    assert {state for state, _ in rows.values()} == {"given", "refused", "withdrawn"}


def test_every_record_of_consent_is_an_event(built: Built) -> None:
    """One event per record of the site, with the text it was given to; what the mailbox confirmed ends suppressions."""
    records = built.rows("select count(*) as n from raw_bitrix.b_consent_user_consent")[0]["n"]
    events = built.rows("select * from marts.fct_consent_events where evidence like 'b_consent_user_consent:%'")
    assert len(events) == records > 50
    assert all(event["text_version"] and event["covers_mailing"] for event in events)
    # all of them are older than the first copy of the agreement
    assert not any(event["is_text_version_certain"] for event in events)
    known = [event for event in events if event["person_id"]]
    assert len(known) > 0.9 * len(events)
    confirmed = "select count(*) as n from marts.fct_consent_events where ends_suppression"
    accepted = "select count(*) as n from raw_bitrix.b_sender_contact where consent_status = 'A' and type_id = 1"
    assert built.rows(confirmed) == built.rows(accepted)


def test_inactivity_keeps_regular_letters_back_and_nothing_else(built: Built, raw: Raw, who: People) -> None:
    """All addresses of the inactive, with the scope that no push acts on."""
    asleep = audience.inactive(raw, who, AT)
    expected = {(address, asleep[person]) for address, person in who.of_email.items() if person in asleep}
    rows = built.rows("select * from marts.dim_suppression where state = 'inactive'")
    assert {(row["email"], row["evidenced_at"]) for row in rows} == expected
    assert {row["scope"] for row in rows} == {"regular_letters"}
    assert len(expected) > 20


def test_every_suppression_has_its_evidence(built: Built) -> None:
    """dim_suppression and the evidence that stands name the same addresses and scopes."""
    rows = built.rows("""
        select email, scope from marts.dim_suppression
        except select email, scope from marts.fct_suppression_evidence where is_standing
        union all
        (select email, scope from marts.fct_suppression_evidence where is_standing
        except select email, scope from marts.dim_suppression)
    """)
    assert rows == []
    ended = built.rows("select count(*) as n from marts.fct_suppression_evidence where not is_standing")
    assert ended[0]["n"] > 0


def test_disagreements_agree(built: Built, raw: Raw, who: People) -> None:
    """Where CRM, sender module and Mailchimp do not say the same, and never before the younger of two opinions."""
    rows = {row["email"]: row for row in built.rows("select * from marts.mart_subscription_mismatch")}
    found = {
        address: (set(row["mailable_at"].split(", ")), set(row["not_mailable_at"].split(", ")))
        for address, row in rows.items()
    }
    assert found == audience.disagreeing(raw, who)
    assert {"crm", "sender", "mailchimp"} <= set.union(*(no for _, no in found.values()))
    assert all(row["since"] is not None and row["since"] <= AT for row in rows.values())


def test_segments_agree(built: Built, raw: Raw, who: People) -> None:
    """Each segment holds exactly its people, with what is sent along."""
    carts = built.rows("select * from segments.seg_abandoned_cart")
    assert {row["email"]: (row["item_count"], row["cart_value"]) for row in carts} == audience.abandoned_carts(
        raw, who, AT
    )
    rows = built.rows("select * from segments.seg_buyers")
    assert {
        row["email"]: (row["purchase_count"], row["spent"], row["last_bought_on"]) for row in rows
    } == audience.buyers(raw, who, AT)
    rows = built.rows("select * from segments.seg_vip")
    assert {row["email"]: row["spent"] for row in rows} == audience.vips(raw, who, AT)
    rows = built.rows("select * from segments.seg_inactive_90d")
    assert {row["email"]: row["last_engaged_on"] for row in rows} == audience.not_engaged(who, AT)
    rows = built.rows("select * from segments.seg_birthday_7d")
    assert {row["email"]: row["days_left"] for row in rows} == audience.birthdays(who, AT)
    rows = built.rows("select * from segments.seg_no_opens_180d")
    assert {row["email"]: row["next_step"] for row in rows} == audience.never_opened(raw, who, AT)
    rows = built.rows("select * from segments.seg_opened_silent_3d")
    assert {row["email"]: row["opened_on"] for row in rows} == audience.opened_and_silent(who, AT)
    for category in CATEGORIES:
        found = column(built, f"select email from segments.seg_{category}")
        assert found == audience.readers(raw, who, AT, category), category


def test_no_segment_is_empty_or_everybody(built: Built, who: People) -> None:
    """What agrees with the raw tables is something, and a part of the people."""
    names = column(built, "select table_name from information_schema.tables where table_schema = 'segments'")
    assert {name.removeprefix("seg_") for name in names} >= set(SEGMENTS)
    for name in SEGMENTS:
        assert 0 < len(column(built, f"select email from segments.seg_{name}")) < len(who.rows), name


def test_soft_bounces_in_a_row_and_a_new_text(changed_dsn: str, tmp_path: Path) -> None:
    """A mailbox dies by soft bounces alone; an agreement's new text is a version that later consents are given to."""
    changed = Built(changed_dsn, {})
    next_day = datetime.combine(WORLD_AS_OF, time()) + timedelta(days=1)
    with psycopg.connect(changed_dsn) as connection:
        connection.execute(BOUNCE_SOFTLY, [new_load(connection, "raw_esp.events")])
        connection.execute("update raw_bitrix.b_consent_agreement set agreement_text = 'Another text.'")
        connection.execute(
            """
            insert into raw_bitrix.b_consent_user_consent
            select (jsonb_populate_record(c, jsonb_build_object('id', 999999, 'date_insert', %s::timestamp))).*
            from raw_bitrix.b_consent_user_consent as c order by id limit 1
            """,
            [next_day + timedelta(hours=12)],
        )
    RepeatedDbt(changed_dsn, tmp_path).run(
        *("int_loads", "int_esp_events", "int_esp_departures", "int_soft_bounce_runs", "int_suppression_evidence"),
        *("int_agreement_versions", "int_consent_events", "fct_suppression_evidence", "dim_suppression"),
        "fct_consent_events",
        run_at=f"{next_day.isoformat()}+03:00",
    )
    expected = dead_mailboxes(Raw(changed_dsn))
    rows = changed.rows("select * from marts.fct_suppression_evidence where evidence like 'soft_bounces:%'")
    assert {row["email"]: row["evidenced_at"] for row in rows} == expected
    assert len(expected) == 5
    assert {(row["state"], row["scope"]) for row in rows} == {("hard_bounce", "everything")}
    assert len(changed.rows("select * from intermediate.int_agreement_versions")) == 2
    texts = changed.rows("select * from marts.fct_consent_events where text_version is not null and agreement_id = 1")
    new = [row for row in texts if row["evidence"] == "b_consent_user_consent:999999"]
    assert [row["is_text_version_certain"] for row in new] == [True]
    assert len({row["text_version"] for row in texts}) == 2
