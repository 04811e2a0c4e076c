"""Letters, their links and what they brought: against the world's truth, and against a calculation of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import psycopg
import pytest
from tests.dbt.conftest import Built, copy_of_the_built
from tests.dbt.dbt_runs import RepeatedDbt
from tests.dbt.independent_letters import Entity, Found, Trail, links_of

from lettertrail.sandbox.world import World, letter_id
from lettertrail.warehouse.embedded import EmbeddedPostgres

TIERS = ("recipient_id", "letter_id_in_utm", "native_order", "utm_email_time", "utm_only")
CERTAIN = ("recipient_id", "letter_id_in_utm", "native_order")
CHANGED_LETTER = 10
HARMED = f"""
-- one lead in four keeps only the tags of its pages, one only those of its card, one not even the letter's id there …
update raw_bitrix.b_crm_tracking_trace set pages_raw__json = regexp_replace(
    pages_raw__json::text, 'bx_sender_conversion_id=[0-9]+', 'page=1', 'g')::jsonb where id % 4 = 1;
update raw_bitrix.b_crm_tracking_trace_entity set _deleted_at = '2026-11-01 00:00:00+00'
    where entity_type_id in (1, 2) and trace_id % 4 in (2, 3);
update raw_bitrix.b_crm_utm set _deleted_at = '2026-11-01 00:00:00+00'
    where code = 'UTM_CONTENT' and (entity_type_id, entity_id) in (
        select 1, id from raw_bitrix.b_crm_lead where id % 4 = 3
        union all select 2, id from raw_bitrix.b_crm_deal where lead_id % 4 = 3);
-- … and nobody knows whose every second of these is
update raw_bitrix.b_crm_lead set contact_id = null where id % 8 = 7;
delete from raw_bitrix.b_crm_field_multi where entity_id = 'LEAD' and element_id % 8 = 7;
-- a letter loses its way out, and gets a link that names another letter and one that nothing is appended to
update raw_bitrix.b_sender_message_field set value = '<a href="https://shop.example/a?utm_content=3">a</a>'
    '<A HREF=''https://shop.example/b?x=1&amp;y=2''>b</A>'
    where message_id = {100 + CHANGED_LETTER} and code = 'MESSAGE';
delete from raw_bitrix.b_sender_message_utm where message_id = {100 + CHANGED_LETTER};
update raw_bitrix.b_sender_message_field set value = ''
    where message_id = {100 + CHANGED_LETTER} and code = 'LINK_PARAMS';
insert into staging.letter_costs values ('bitrix:{CHANGED_LETTER}', 1500.50, 'RUB');
insert into staging.sending_prices values ('bitrix', '2000-01-01', 250, 'RUB');
"""
ARRIVED = """
insert into ops.loads (load_id, run_id, target, strategy, read, inserted, updated, unchanged, quarantined, deleted,
    started_at, finished_at)
    overriding system value
    values (900001, 'late', 'raw_bitrix.b_crm_tracking_trace', 'touched_by', 0, 0, 0, 0, 0, 0,
        '2026-11-01 02:00:00+00', '2026-11-01 02:00:00+00');
update raw_bitrix.b_crm_tracking_trace set source_id = 1, pages_raw__json = '[{"URL": "https://shop.example/late"}]',
    _load_id = 900001 where id = 1;
update raw_bitrix.b_crm_tracking_trace set _deleted_at = '2026-11-01 02:00:00+00', _load_id = 900001 where id = 2;
-- this one no load told of: it is not looked at again
update raw_bitrix.b_crm_tracking_trace set pages_raw__json = '[]' where id = 3;
"""


def truth(world: World) -> dict[Entity, str | None]:
    """The letter behind every lead, deal of a lead, visit and order; None when none is behind it."""
    letter_of_send = dict(zip(world.sends["send"], world.sends["letter"], strict=True))
    send_of_event = dict(zip(world.events["event"], world.events["send"], strict=True))
    found: dict[Entity, str | None] = {}
    for place, (lead, event) in enumerate(zip(world.leads["lead"], world.leads["landing_event"], strict=True), start=1):
        letter = None if pd.isna(event) else letter_id(letter_of_send[send_of_event[event]])
        found["lead", str(lead)] = found["visit", str(place)] = letter
    for deal, lead in zip(world.deals["deal"], world.deals["lead"].fillna(0), strict=True):
        found["deal", str(deal)] = found.get(("lead", str(lead)))
    for order, causes in zip(world.orders["order"], world.orders["causes"], strict=True):
        found["order", str(order)] = letter_id(causes[-1]) if causes else None
    return found


def linked(dsn: str) -> dict[Entity, Found]:
    """int_letter_link as it was built."""
    rows = Built(dsn, {}).rows(
        "select entity_type, entity_id, letter_id, tier from intermediate.int_letter_link where not is_gone"
    )
    return {(row["entity_type"], row["entity_id"]): (row["letter_id"], row["tier"]) for row in rows}


def precision(found: dict[Entity, Found], wanted: dict[Entity, str | None]) -> dict[str, tuple[int, int]]:
    """How many links a tier found, and how many of them are right; prints them."""
    counts = Counter(tier for _, tier in found.values() if tier)
    right = Counter(tier for entity, (letter, tier) in found.items() if tier and wanted.get(entity) == letter)
    for tier in TIERS:
        share = f"{right[tier] / counts[tier]:.3f}" if counts[tier] else "none"
        print(f"{tier:18} found {counts[tier]:6} right {right[tier]:6} precision {share}")  # noqa: T201  # a figure for people
    return {tier: (counts[tier], right[tier]) for tier in TIERS}


@pytest.fixture(scope="module")
def harmed_dsn(built: Built, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The built warehouse after visits lost their ids and a letter its links, built anew."""
    with copy_of_the_built(postgres) as dsn:
        with psycopg.connect(dsn) as connection:
            connection.execute(HARMED)
        RepeatedDbt(dsn, tmp_path_factory.mktemp("harmed")).run(
            *("+int_visits", "+mart_link_audit", "+mart_link_audit_findings", "+dim_letter"),
            *("--exclude", "path:seeds", "--full-refresh"),
        )
        yield dsn


def test_links_of_the_world_are_right(built: Built, world: World) -> None:
    """With all that Bitrix keeps, every certain link is right, and nearly all that a letter brought is linked."""
    found, wanted = linked(built.dsn), truth(world)
    counts = precision(found, wanted)
    for tier in CERTAIN:
        assert counts[tier][0] == counts[tier][1], tier
    assert counts["recipient_id"][0] > 20
    assert counts["native_order"][0] > 3
    # Bitrix's own attribution knows its own letters only
    brought = [e for e, letter in wanted.items() if letter and (e[0] != "order" or letter.startswith("bitrix:"))]
    missed = [entity for entity in brought if not found[entity][0]]
    print(f"linked {len(brought) - len(missed)} of {len(brought)} that a letter brought")  # noqa: T201  # as above
    assert len(missed) <= 0.02 * len(brought)


def test_links_hold_when_ids_are_lost(harmed_dsn: str, world: World) -> None:
    """Lower tiers find something then; the certain ones are never wrong, the others right nine times in ten."""
    counts = precision(linked(harmed_dsn), truth(world))
    # tags alone tell of so few that it may be none
    assert [tier for tier, (found, _) in counts.items() if not found] in ([], ["utm_only"])
    for tier, (found, right) in counts.items():
        assert right >= (1 if tier in CERTAIN else 0.9) * found, tier


def test_links_agree(built: Built, harmed_dsn: str, changed_world: Built) -> None:
    """int_letter_link is what the raw tables say, row by row: letter and tier."""
    for dsn in (built.dsn, harmed_dsn, changed_world.dsn):
        expected, found = Trail(dsn).found, linked(dsn)
        assert found.keys() == expected.keys()
        assert {entity: found[entity] for entity in found if found[entity] != expected[entity]} == {}


def test_what_is_not_linked_says_why(harmed_dsn: str) -> None:
    """Several reasons occur, and none is given to what is linked."""
    rows = Built(harmed_dsn, {}).rows(
        "select unmatched_reason, count(*) as n from intermediate.int_letter_link where letter_id is null group by 1"
    )
    reasons = {row["unmatched_reason"] for row in rows}
    assert reasons >= {"no_visit_and_no_tags", "visit_without_tags", "tags_of_another_channel"}
    assert None not in reasons


def test_bodies_are_read_as_a_parser_reads_them(built: Built) -> None:
    """Every link of every letter, and no other."""
    bodies = built.rows("select letter_id, body from intermediate.int_letter_bodies where body is not null")
    assert len(bodies) > 60
    found: dict[str, set[str]] = {}
    for row in built.rows("select letter_id, link_url from intermediate.int_letter_links where known_from = 'body'"):
        found.setdefault(row["letter_id"], set()).add(row["link_url"])
    for row in bodies:
        assert found.get(row["letter_id"], set()) == links_of(row["body"]), row["letter_id"]


def test_letters_of_a_service_are_audited_by_their_html(built: Built, world: World) -> None:
    """Every link of the letter, also those nobody clicked, and the way out; where there is no HTML, what is listed."""
    letters = zip(world.letters["letter"], world.letters["urls"], strict=True)
    urls = {letter_id(number): set(links) for number, links in letters}
    rows = built.rows("select * from marts.mart_link_audit where source = 'mailchimp'")
    known = [row for row in rows if row["is_body_known"]]
    assert len(rows) - len(known) == 2 < len(known)
    assert {row["letter_id"]: row["link_count"] for row in known} == {
        row["letter_id"]: len(urls[row["letter_id"]]) for row in known
    }
    assert {row["has_unsubscribe_link"] for row in known} == {True}
    assert {row["has_unsubscribe_link"] for row in rows if not row["is_body_known"]} == {None}
    links = built.rows("select * from intermediate.int_letter_links where letter_id like 'mailchimp:%'")
    assert {link["is_tracked"] for link in links if link["known_from"] == "body"} == {True, None}


def test_a_changed_letter_keeps_its_earlier_score(built: Built, harmed_dsn: str) -> None:
    """A full refresh too leaves the score of the content before."""
    query = f"select * from marts.mart_link_audit where letter_id = 'bitrix:{CHANGED_LETTER}'"
    (before,) = built.rows(query)
    (after,) = Built(harmed_dsn, {}).rows(query)
    assert (before["version_number"], before["previous_score"]) == (1, None)
    assert (after["version_number"], after["previous_score"]) == (2, before["score"])
    assert after["score"] < before["score"]
    assert {name: after[name] for name in after if name.endswith("_count")} == {
        "link_count": 2,
        "no_utm_count": 1,
        "missing_source_count": 1,
        "missing_medium_count": 1,
        "missing_campaign_count": 1,
        "missing_content_count": 0,
        "wrong_letter_id_count": 1,
        "no_letter_id_count": 1,
        "untracked_count": 0,
    }
    assert after["has_unsubscribe_link"] is False
    unchanged = Built(harmed_dsn, {}).rows("select count(*) as n from marts.mart_link_audit where version_number > 1")
    assert unchanged[0]["n"] == 1


def test_costs_come_from_the_seeds(built: Built, harmed_dsn: str) -> None:
    """The given cost, else the price of what was sent; a source without a price has no cost."""
    assert built.rows("select count(cost) as n from marts.dim_letter")[0]["n"] == 0
    rows = Built(harmed_dsn, {}).rows("select * from marts.dim_letter")
    letters = {row["letter_id"]: row for row in rows}
    assert (letters[f"bitrix:{CHANGED_LETTER}"]["cost"], letters[f"bitrix:{CHANGED_LETTER}"]["cost_basis"]) == (
        pytest.approx(1500.50),
        "given",
    )
    sent = Built(harmed_dsn, {}).rows(
        "select count(*) as n from raw_bitrix.b_sender_posting_recipient as recipient join raw_bitrix.b_sender_posting "
        "as posting on posting.id = recipient.posting_id where mailing_chain_id = 20 and recipient.status = 'N'"
    )[0]["n"]
    assert float(letters["bitrix:20"]["cost"]) == pytest.approx(sent * 0.25, abs=0.01)
    assert all(row["cost"] is None for row in rows if row["source"] != "bitrix")


def test_letters_know_their_audience(built: Built) -> None:
    """The segment a letter goes to, not the staff that is kept out of it; the list of an ESP."""
    rows = built.rows("select source, audience_segment, count(*) as n from marts.dim_letter group by 1, 2")
    assert {(row["source"], row["audience_segment"]) for row in rows} == {
        ("bitrix", "Все клиенты CRM"),
        ("bitrix", "Покупатели за год"),
        ("mailchimp", "Все"),
    }


def test_visits_are_read_again_when_a_load_brings_them(harmed_dsn: str, tmp_path: Path) -> None:
    """An increment reads the traces of new loads, and leaves the others."""
    query = "select trace_id, landing_url, is_deleted, _built_at from intermediate.int_visits_parsed"
    before = {row["trace_id"]: row for row in Built(harmed_dsn, {}).rows(query)}
    with psycopg.connect(harmed_dsn) as connection:
        connection.execute(ARRIVED)
    RepeatedDbt(harmed_dsn, tmp_path).run("int_loads", "int_visits_parsed")
    after = {row["trace_id"]: row for row in Built(harmed_dsn, {}).rows(query)}
    assert {trace for trace in after if after[trace] != before[trace]} == {1, 2}
    assert after[1]["landing_url"] == "https://shop.example/late"
    assert (before[2]["is_deleted"], after[2]["is_deleted"]) == (False, True)
