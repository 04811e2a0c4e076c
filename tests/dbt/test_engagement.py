"""Verdicts against the world's truth, the engagement marts against plain Python, increments against a rebuild."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from random import Random
from typing import Any

import psycopg
import pytest
from tests.dbt.conftest import Built
from tests.dbt.dbt_runs import RepeatedDbt, new_load
from tests.dbt.independent import Figures
from tests.dbt.marts_agree import (
    campaign_performance_agrees,
    deliverability_agrees,
    esp_comparison_agrees,
    funnel_agrees,
    list_agrees,
    segment_engagement_agrees,
)

from lettertrail.sandbox.world import World, letter_id

ACTS = """
    select events.source, events.event_type, events.occurred_at, events.url, events.letter_id, events.verdict,
        coalesce(mailboxes.email, esp_events.email) as email
    from marts.fct_email_events as events
    left join intermediate.int_messages as messages on events.message_id = messages.message_id
    left join intermediate.int_mailboxes as mailboxes on mailboxes.address_id = messages.address_id
    left join intermediate.int_esp_events as esp_events on events.event_id = esp_events.event_id
    where events.event_type in ('opened', 'clicked')
"""
KINDS = {"open": "opened", "click": "clicked"}
INCREMENTAL = (
    "intermediate.int_recipient_cards",
    "intermediate.int_identity_claims",
    "intermediate.int_card_holdings",
    "intermediate.int_identifiers",
    "intermediate.int_identifiers_linked",
    "intermediate.int_identifiers_joined",
    "intermediate.int_contact_emails_ranked",
    "intermediate.int_mailboxes",
    "intermediate.int_dispatches",
    "intermediate.int_esp_events",
    "intermediate.int_bitrix_messages",
    "intermediate.int_esp_messages",
    "intermediate.int_clicks",
    "intermediate.int_opens",
    "intermediate.int_domain_bursts",
    "intermediate.int_bitrix_complaints",
    "intermediate.int_clicks_judged",
    "intermediate.int_opens_judged",
    "intermediate.int_message_outcomes",
    "intermediate.int_engagement_daily",
    "intermediate.int_person_engagement",
    "intermediate.int_letter_signals",
    "intermediate.int_letter_tags",
    "intermediate.int_letter_link",
    "intermediate.int_visits",
    "marts.dim_person",
    "marts.fct_email_events",
)
TRACKING = ("_built_at", "is_gone", "previous_message_key", "previous_dispatch_key", "previous_message_id")
STANDING = {"is_gone": "not is_gone", "is_held": "is_held", "is_linked": "is_linked"}
"""Columns that mark rows kept only for readers to hear that they are no more, and how to leave those out."""
SHUFFLED = (
    "raw_bitrix.b_sender_posting_recipient",
    "raw_bitrix.b_sender_posting_read",
    "raw_bitrix.b_sender_posting_click",
    "raw_bitrix.b_sender_posting_unsub",
    "raw_bitrix.b_sender_abuse",
    "raw_bitrix.b_sender_posting",
    "raw_bitrix.b_sender_mailing_chain",
    "raw_bitrix.b_sender_contact",
    "raw_bitrix.b_sender_message_utm",
    "raw_bitrix.b_main_mail_blacklist",
    "raw_bitrix.b_crm_contact",
    "raw_bitrix.b_crm_lead",
    "raw_bitrix.b_crm_deal",
    "raw_bitrix.b_crm_utm",
    "raw_bitrix.b_crm_field_multi",
    "raw_bitrix.b_crm_tracking_source",
    "raw_bitrix.b_crm_tracking_trace",
    "raw_bitrix.b_crm_tracking_trace_entity",
    "raw_bitrix.b_conv_context_attribute",
    "raw_bitrix.b_conv_context_entity_item",
    "raw_bitrix.b_sale_order",
    "raw_bitrix.b_user",
    "raw_esp.contacts",
    "raw_esp.events",
    "raw_esp.campaigns",
)
REBOUND = (
    "update raw_bitrix.b_crm_lead set contact_id = 1 + id * 7 % 90, _load_id = {load} where id % 9 = 0",
    "update raw_bitrix.b_crm_deal set contact_id = 1 + id * 5 % 90, _load_id = {load} where id % 7 = 0",
    "update raw_bitrix.b_crm_deal set lead_id = 1 + id * 3 % 90, _load_id = {load} where id % 11 = 0",
    "update raw_bitrix.b_sale_order set user_id = 1 + id % 40, _load_id = {load} where id % 7 = 0",
    "update raw_bitrix.b_crm_tracking_trace_entity set entity_id = 1 + entity_id * 3 % 90, _load_id = {load}"
    " where id % 8 = 0",
    "update raw_bitrix.b_sender_message_utm set value = 'other', _load_id = {load} where message_id % 5 = 0",
    "update raw_bitrix.b_crm_field_multi set value_type = 'MAILING', _load_id = {load} where id % 6 = 0",
    "update raw_bitrix.b_crm_tracking_source set name = name || ' 2', _load_id = {load} where id % 2 = 0",
    "update raw_bitrix.b_user set name = name || ' II', _load_id = {load} where id % 3 = 0",
)
"""What ties a thing to another one leads elsewhere from now on."""


def test_verdicts_are_right_about_the_world(built: Built, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Source by source and kind by kind, nine in ten verdicts hold and nine in ten machines and people are found."""
    truth = _truth(world)
    cells: Counter[tuple[str, str, str, str]] = Counter()
    unknown = 0
    for row in built.rows(ACTS):
        actors = truth.get((row["event_type"], row["email"], row["letter_id"], row["occurred_at"], row["url"]), [])
        unknown += not actors
        if actors:
            cells[row["source"], row["event_type"], actors.pop(), row["verdict"]] += 1
    assert unknown < 0.02 * sum(cells.values())
    lines = []
    for source, kind in sorted({cell[:2] for cell in cells}):
        for word in ("machine", "human"):
            right = cells[source, kind, word, word]
            called = sum(cells[source, kind, actor, word] for actor in ("machine", "human"))
            there = sum(cells[source, kind, word, verdict] for verdict in ("machine", "doubtful", "human"))
            lines.append((source, kind, word, right / called, right / there, there))
    with capsys.disabled():
        print("\nsource     kind     verdict  precision  recall  events")  # noqa: T201
        for source, kind, word, precision, recall, there in lines:
            print(f"{source:10} {kind:8} {word:8} {precision:9.3f} {recall:7.3f} {there:7}")  # noqa: T201
    assert len(lines) == 8
    assert [line for line in lines if line[3] < 0.9 or line[4] < 0.9] == []


def test_deliverability_agrees(built: Built, from_raw: Figures) -> None:
    """What came back, why and from where is what the raw tables say."""
    deliverability_agrees(built.dsn, from_raw)


def test_esp_comparison_agrees(built: Built, from_raw: Figures) -> None:
    """Sources side by side are what the raw tables say, quarter by quarter."""
    esp_comparison_agrees(built.dsn, from_raw)
    assert {row["source"] for row in built.rows("select source from marts.mart_esp_comparison")} == {
        "bitrix",
        "mailchimp",
    }


def test_segment_engagement_agrees(built: Built, from_raw: Figures) -> None:
    """Segments are what the raw tables say, quarter by quarter."""
    segment_engagement_agrees(built.dsn, from_raw)


def test_campaign_performance_agrees(built: Built, from_raw: Figures) -> None:
    """Campaigns are what the raw tables say, with what they earned."""
    campaign_performance_agrees(built.dsn, from_raw)
    rows = built.rows("select * from marts.mart_campaign_performance where letter_count > 1 and revenue_last_touch > 0")
    assert len(rows) > 1


def test_funnel_agrees(built: Built, from_raw: Figures) -> None:
    """From the letter to the money, every stage is what the raw tables say."""
    funnel_agrees(built.dsn, from_raw)
    assert min(row["value"] for row in built.rows("select value from marts.mart_funnel where source = 'bitrix'")) > 0


def test_list_agrees(built: Built, from_raw: Figures) -> None:
    """Who joined, left, was written to and never read is what the raw tables say, month by month."""
    list_agrees(built.dsn, from_raw)
    (row,) = built.rows(
        "select count(*) as months, sum(unsubscribed) as left, sum(bounced) as bounced, sum(complained) as complained,"
        " max(year_decay_rate) as decay, max(never_engaged_count) as silent from marts.mart_list_health"
    )
    assert row["months"] > 12
    assert all(row.values())


def test_increments_equal_a_rebuild(changed_dsn: str, tmp_path: Path) -> None:
    """Rows that go, come back, change and come late, parents after children: what grew is what is built whole."""
    random = Random(5)
    with psycopg.connect(changed_dsn) as connection:
        letters = _letters_that_brought_most(connection)
        _delete_a_visit_of_each(connection, letters)
        _toggle(connection, random, share=0.15, gone=True)
        _toggle_letters(connection, letters, gone=True)
    _run(changed_dsn, tmp_path)
    _run_tests(changed_dsn, tmp_path)
    assert _tables_that_name(changed_dsn, letters) == set()
    assert _links_that_name(changed_dsn, letters, gone=True) == set(letters)
    before = _contents(changed_dsn)
    with psycopg.connect(changed_dsn) as connection:
        _toggle(connection, random, share=0.6, gone=False)
        _toggle(connection, random, share=0.05, gone=True)
        _toggle_letters(connection, letters, gone=False)
        _gateway(connection)
        _move_addresses(connection)
        for statement in REBOUND:
            load = new_load(connection, statement.split()[1])
            assert connection.execute(statement.format(load=load)).rowcount > 0, statement
    _run(changed_dsn, tmp_path)
    _run_tests(changed_dsn, tmp_path)
    assert _links_that_name(changed_dsn, letters, gone=False) == set(letters)
    grown = _contents(changed_dsn)
    rules = Counter(
        row["verdict_rule"]
        for row in Built(changed_dsn, {}).rows(
            "select verdict_rule from marts.fct_email_events where verdict_rule is not null"
        )
    )
    assert rules["domain_burst"] > 0
    _run(changed_dsn, tmp_path, "--full-refresh")
    assert sum(rows != before[table] for table, rows in grown.items()) > 10
    whole = _contents(changed_dsn)
    assert [table for table in INCREMENTAL if grown[table] != whole[table]] == []


def _truth(world: World) -> dict[tuple[object, ...], list[str]]:
    """Who really did what, by all that the warehouse knows of it."""
    sends = world.sends.set_index("send")
    found: dict[tuple[object, ...], list[str]] = defaultdict(list)
    for event in world.events[world.events["kind"].isin(KINDS)].itertuples():
        send = sends.loc[event.send]
        url = event.url if isinstance(event.url, str) else None
        key = (KINDS[event.kind], send["email"], letter_id(int(send["letter"])), event.occurred_at.to_pydatetime(), url)
        found[key].append("human" if event.actor == "human" else "machine")
    return found


def _run(dsn: str, work_dir: Path, *more: str) -> None:
    RepeatedDbt(dsn, work_dir).run(
        *("+int_engagement_daily", "+fct_email_events", "+dim_person", "+int_visits"),
        *("--exclude", "path:models/staging", *more),
    )


def _run_tests(dsn: str, work_dir: Path) -> None:
    """What the project says of the tables holds of the rows that stand, whatever those say that are no more."""
    tested = RepeatedDbt(dsn, work_dir).do(
        *("test", "--select", "int_letter_link", "int_visits", "int_person_engagement", "dim_person"),
        *("--exclude", "test_type:unit", "--indirect-selection", "buildable"),
    )
    assert any("relationships_int_letter_link" in test for test in tested)


def _letters_that_brought_most(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """Letter id → its row, of the letter of each source that brought most, visits among it."""
    rows = connection.execute(
        """
        select distinct on (source) source, letter_id, letter_key
        from intermediate.int_letter_link
        inner join intermediate.int_letters using (letter_id)
        group by source, letter_id, letter_key
        having bool_or(entity_type = 'visit')
        order by source, count(*) desc, letter_id
        """
    ).fetchall()
    assert {source for source, _, _ in rows} == {"bitrix", "mailchimp"}
    return {
        letter: f"raw_bitrix.b_sender_mailing_chain where id = {key}"
        if source == "bitrix"
        else f"raw_esp.campaigns where external_id = '{key}'"
        for source, letter, key in rows
    }


def _toggle_letters(connection: psycopg.Connection[Any], letters: dict[str, str], *, gone: bool) -> None:
    moment = "'2026-11-01 00:00:00+00'" if gone else "null"
    for row in letters.values():
        table, condition = row.split(" where ")
        load = new_load(connection, table)
        updated = connection.execute(f"update {table} set _deleted_at = {moment}, _load_id = {load} where {condition}")
        assert updated.rowcount == 1, row


def _delete_a_visit_of_each(connection: psycopg.Connection[Any], letters: dict[str, str]) -> None:
    """So that a link goes in the same build as its letter."""
    load = new_load(connection, "raw_bitrix.b_crm_tracking_trace")
    deleted = connection.execute(
        f"update raw_bitrix.b_crm_tracking_trace set _deleted_at = '2026-11-01 00:00:00+00', _load_id = {load}"
        " where id in (select min(entity_id::bigint) from intermediate.int_letter_link"
        " where entity_type = 'visit' and letter_id = any(%s) group by letter_id)",
        [list(letters)],
    )
    assert deleted.rowcount == len(letters)


def _tables_that_name(dsn: str, letters: dict[str, str]) -> set[str]:
    """The incremental tables with rows that stand and are of one of the letters."""
    found = set()
    with psycopg.connect(dsn) as connection:
        for table in INCREMENTAL:
            columns = _columns(connection, table)
            standing = "".join(f" and {condition}" for column, condition in STANDING.items() if column in columns)
            for column in {"letter_id", "first_letter_id"} & set(columns):
                query = f"select exists (select 1 from {table} where {column} = any(%s){standing})"
                if connection.execute(query, [list(letters)]).fetchone() == (True,):
                    found.add(table)
    return found


def _links_that_name(dsn: str, letters: dict[str, str], *, gone: bool) -> set[str]:
    """Which of the letters are in links that stand, or in those that are no more."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "select distinct letter_id from intermediate.int_letter_link where letter_id = any(%s) and is_gone = %s",
            [list(letters), gone],
        )
        return {letter for (letter,) in rows}


def _toggle(connection: psycopg.Connection[Any], random: Random, *, share: float, gone: bool) -> None:
    """Deletes a part of every table's rows or brings a part of the deleted back, each table in its own load."""
    connection.execute("select setseed(%s)", [random.random()])
    moment = "'2026-11-01 00:00:00+00'" if gone else "null"
    for table in random.sample(SHUFFLED, len(SHUFFLED)):
        load = new_load(connection, table)
        connection.execute(
            f"update {table} set _deleted_at = {moment}, _load_id = {load} "
            f"where (_deleted_at is null) = {gone} and random() < {share}"
        )


def _gateway(connection: psycopg.Connection[Any]) -> None:
    """Every letter of one dispatch to one domain is clicked within seconds, an hour after it went out."""
    load = new_load(connection, "raw_bitrix.b_sender_posting_click")
    connection.execute(
        f"""
        with letters as (
            select messages.recipient_id, split_part(messages.dispatch_key, ':', 2)::int as posting_id,
                count(*) over crowd as size, count(clicked.message_key) over crowd as clicked,
                row_number() over (crowd order by messages.recipient_id) as place,
                min(messages.sent_at) over crowd as first_sent_at, messages.dispatch_key, messages.email_domain
            from intermediate.int_bitrix_messages as messages
            left join (select distinct message_key from intermediate.int_clicks) as clicked using (message_key)
            where is_delivered and letter_id is not null and email_domain not like '%mail%'
            window crowd as (partition by messages.dispatch_key, messages.email_domain)
        ),
        crowd as (
            select dispatch_key, email_domain from letters
            where size between 4 and 9 and clicked = 0 order by 1, 2 limit 1
        )
        insert into raw_bitrix.b_sender_posting_click
            (id, posting_id, recipient_id, date_insert, url, _row_hash, _loaded_at, _load_id)
        select 90000000 + recipient_id, posting_id, recipient_id,
            (first_sent_at + interval '1 day' + place * interval '1 second') at time zone 'Europe/Moscow',
            'https://shop.example/gateway', 1, '2026-11-01 00:00:00+00', {load}
        from letters
        inner join crowd using (dispatch_key, email_domain)
        """
    )


def _move_addresses(connection: psycopg.Connection[Any]) -> None:
    """Addresses get another spelling, owner or domain in place, as an employee may do."""
    load = new_load(connection, "raw_bitrix.b_sender_contact")
    connection.execute(
        f"update raw_bitrix.b_sender_contact set code = 'moved' || id || '@elsewhere.example', _load_id = {load}"
        " where type_id = 1 and id % 41 = 0"
    )


def _contents(dsn: str) -> dict[str, str]:
    """A fingerprint of every incremental table without what tells only when it was built."""
    found = {}
    with psycopg.connect(dsn) as connection:
        for table in INCREMENTAL:
            columns = _columns(connection, table)
            standing = "".join(f" where {condition}" for column, condition in STANDING.items() if column in columns)
            row = f"row({', '.join(column for column in columns if column not in TRACKING)})::text"
            result = connection.execute(f"select md5(string_agg({row}, '|' order by {row})) from {table}{standing}")
            found[table] = str((result.fetchone() or [""])[0])
    return found


def _columns(connection: psycopg.Connection[Any], table: str) -> list[str]:
    rows = connection.execute(
        "select column_name from information_schema.columns where table_schema = %s and table_name = %s"
        " order by column_name",
        table.split("."),
    )
    return [column for (column,) in rows]
