"""Erasing somebody who was written to and bought: what is counted stays, who it was goes, and stays away."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg import conninfo
from tests.dbt.conftest import CLOCK, Built, copy_of_the_built
from tests.dbt.dbt_runs import NO_UNIT_TESTS, RepeatedDbt
from tests.erasure.residue import columns_read, residue, traces_of

from lettertrail.bitrix.catalog import load_catalog
from lettertrail.bitrix.sql import SqlSource
from lettertrail.erasure.erase import Approval, Erased, Plan, erase_person, plan_erasure
from lettertrail.erasure.keep import keep_erased
from lettertrail.erasure.keys import ErasureKey
from lettertrail.erasure.person import Person, find_person
from lettertrail.erasure.tell import Others
from lettertrail.sandbox.bitrix_site import Site
from lettertrail.warehouse.connect import Connection, connect
from lettertrail.warehouse.embedded import EmbeddedPostgres
from lettertrail.warehouse.load import load_table
from lettertrail.warehouse.roles import apply_roles

KEY = ErasureKey(b"0123456789abcdef0123456789abcdef")
PASSWORD = "an eraser's"
COUNTED = (
    "dim_person", "dim_letter", "fct_email_events", "fct_conversions", "fct_visits", "fct_attribution_credits",
    "fct_attribution_ledger", "fct_attribution_data_driven", "mart_attribution_by_model", "mart_campaign_performance",
    "mart_cohort_revenue", "mart_esp_comparison", "mart_funnel", "mart_letter_credits", "mart_letter_performance",
    "mart_letter_roi", "mart_paths",
)  # fmt: skip
"""Letters, people, money. Not among these: domains (one more, that of the erased) and the list (one fewer)."""
SOMEBODY = """
select people.bitrix_contact_id
from marts.dim_person as people
join marts.fct_conversions as conversions using (person_id)
join marts.fct_attribution_credits as credits using (conversion_id)
join raw_bitrix.b_sale_order as orders on orders.user_id = people.bitrix_user_id
join raw_bitrix.b_crm_deal as deals on deals.contact_id = people.bitrix_contact_id
where people.primary_phone is not null and people.sent_count > 0
    and credits.amount > 0 and credits.letter_id is not null
    and exists (select from raw_esp.events as told where told.email = people.primary_email)
order by people.bitrix_contact_id
limit 1
"""
NAME = "Quillfeather"
"""Nobody else in the small world is called that."""
NAMED = (
    "update raw_bitrix.b_crm_contact set last_name = '{name}', full_name = 'Z {name}' where id = {contact}",
    "update raw_bitrix.b_user set last_name = '{name}' where id = {user}",
    "update raw_bitrix.b_crm_deal set title = 'For {name}' where contact_id = {contact}",
    "update raw_bitrix.b_sale_order set user_description = 'Ring for {name}' where user_id = {user}",
    "update raw_bitrix.b_sender_posting_recipient"
    ' set fields = replace(fields, \'"NAME";\', \'"NAME";s:12:"{name}";s:5:"OTHER";\')'
    " where contact_id in (select id from raw_bitrix.b_sender_contact where code = '{email}')",
    "update marts.dim_person set last_name = '{name}' where bitrix_contact_id = {contact}",
)


@dataclass(frozen=True)
class ErasedWorld:
    """The small world without one person, built anew; and what it was before."""

    dsn: str
    eraser_dsn: str
    person: Person
    traces: list[str]
    there: Counter[str]
    """Column -> rows in which the person stood."""
    numbers: Counter[str]
    """The same of the numbers that the models make of the person's addresses and telephone numbers."""
    sums: dict[str, Decimal | int | None]
    planned: Plan
    erased: Erased

    def left(self) -> Counter[str]:
        with psycopg.connect(self.dsn) as connection:
            return residue(connection, self.traces)


@pytest.fixture(scope="module")
def world_without(
    built: Built, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ErasedWorld]:
    """Erased by the role that may, and built as after any load: models grow from the rows that changed."""
    with copy_of_the_built(postgres) as dsn:
        (somebody,) = Built(dsn, {}).rows(SOMEBODY)
        reference = f"contact:{somebody['bitrix_contact_id']}"
        with connect(dsn, purpose="test") as connection:
            known = find_person(connection, KEY, reference)
            assert known is not None
            (user,) = known.cards["user"]
            for statement in NAMED:
                spelled = statement.format(name=NAME, contact=reference[8:], user=user, email=known.emails[0])
                assert connection.execute(spelled.encode()).rowcount, spelled
            person = find_person(connection, KEY, reference)
            assert person is not None
            traces = traces_of(person.emails, person.phones, [NAME])
            there = residue(connection, traces)
            numbers = numbers_left(connection, person)
        apply_roles(dsn, {"lettertrail_eraser": PASSWORD})
        eraser_dsn = conninfo.make_conninfo(dsn, user="lettertrail_eraser", password=PASSWORD)
        before = sums(dsn)

        planned = plan_erasure(eraser_dsn, KEY, reference, clock=CLOCK)
        approval = Approval("7", CLOCK())
        erased = erase_person(
            eraser_dsn, KEY, reference, Others(), case="T-1", approval=approval, run_id="tests", clock=CLOCK
        )
        assert erased is not None
        RepeatedDbt(dsn, tmp_path_factory.mktemp("erasure")).do("build", *NO_UNIT_TESTS)
        yield ErasedWorld(dsn, eraser_dsn, person, traces, there, numbers, before, planned, erased)


def numbers_left(connection: Connection, person: Person) -> Counter[str]:
    """Column -> rows with the 64-bit hash of an address or number of the person, wherever there is room for one."""
    columns = connection.execute(
        "select format('%I.%I', table_schema, table_name), column_name::text from information_schema.columns"
        " join information_schema.tables using (table_schema, table_name)"
        " where table_type = 'BASE TABLE' and data_type in ('bigint', 'numeric')"
        " and table_schema not in ('pg_catalog', 'information_schema')"
    ).fetchall()
    known = [*(f"email:{email}" for email in person.emails), *(f"phone:{phone}" for phone in person.phones)]
    rows = connection.execute("select hashtextextended(text, 0) from unnest(%s::text[]) as text", [known]).fetchall()
    hashes = [number for (number,) in rows]
    found: Counter[str] = Counter()
    for table, column in columns:
        query = f'select count(*) from {table} where "{column}" = any(%s::numeric[])'
        row = connection.execute(query.encode(), [hashes]).fetchone()
        assert row is not None
        found[f"{table}.{column}"] += row[0]
    return +found


def sums(dsn: str) -> dict[str, Decimal | int | None]:
    """Rows of each mart, and the sum of every column of numbers."""
    found: dict[str, Decimal | int | None] = {}
    with psycopg.connect(dsn) as connection:
        columns = connection.execute(
            "select table_name,"
            " array_agg(column_name::text) filter (where data_type in ('bigint', 'integer', 'numeric'))"
            " from information_schema.columns where table_schema = 'marts' and table_name = any(%s)"
            " group by table_name",
            [list(COUNTED)],
        ).fetchall()
        assert len(columns) == len(COUNTED)
        for table, names in columns:
            kept = names or []
            asked = ", ".join(["count(*)", *(f'sum("{name}")' for name in kept)])
            row = connection.execute(f"select {asked} from marts.{table}".encode()).fetchone()
            assert row is not None
            found |= dict(zip([f"{table}.{name}" for name in ("*", *kept)], row, strict=True))
    return found


def test_nothing_is_left_in_any_column_after_the_next_build(
    world_without: ErasedWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    """Address, number, name and hashes of them, in every text, JSON and bytes column of every schema."""
    schemas = {name.partition(".")[0] for name in world_without.there}
    assert schemas >= {"raw_bitrix", "raw_esp", "intermediate", "marts"}
    left = world_without.left()
    with psycopg.connect(world_without.dsn) as connection, capsys.disabled():
        there = world_without.there
        sys.stdout.write(
            f"\nerasure residue in any text column: {left.total()} rows"
            f" (before: {there.total()} rows in {len(there)} of {columns_read(connection)} columns)\n"
        )
    assert left == {}


def test_no_number_made_of_an_address_is_left(world_without: ErasedWorld) -> None:
    """The models join over hashes without a key, of which addresses can be guessed as of MD5."""
    assert {name.rpartition(".")[2] for name in world_without.numbers} >= {
        "identifier_number", "other_identifier_number"
    }  # fmt: skip
    with connect(world_without.dsn, purpose="test") as connection:
        assert numbers_left(connection, world_without.person) == {}


def test_the_plan_counts_what_then_happens(world_without: ErasedWorld) -> None:
    """Of somebody with orders, letters and cards, who is in the models too."""
    assert world_without.planned.places == world_without.erased.places


def test_no_sum_shrinks(world_without: ErasedWorld) -> None:
    """Nor does any count of letters, people, opens or deals."""
    assert sums(world_without.dsn) == world_without.sums


def test_who_was_erased_is_known_as_erased_and_no_more(world_without: ErasedWorld) -> None:
    """In the marts: no name, no birthday; no consent takes the state back."""
    contact = world_without.person.cards["contact"][0]
    pseudonyms = [KEY.email(email) for email in world_without.person.emails]
    with psycopg.connect(world_without.dsn) as connection:
        names = connection.execute(
            "select first_name, last_name, birth_date from marts.dim_person where bitrix_contact_id = %s", [contact]
        ).fetchone()
        states = connection.execute(
            "select state from marts.dim_suppression where email = any(%s) and scope = 'everything'", [pseudonyms]
        ).fetchall()
    assert names == (None, None, None)
    assert states == [("erased",)] * len(pseudonyms)


def test_copying_again_does_not_bring_the_person_back(world_without: ErasedWorld, bitrix_site_small: Site) -> None:
    """Rows that are the same at the site are left alone; those that are read anew are erased before the next build."""
    source = SqlSource(bitrix_site_small.reader_dsn, ZoneInfo("Europe/Moscow"))
    entries = [entry for entry in load_catalog() if f"raw_bitrix.{entry.name}" in world_without.erased.places]
    assert len(entries) >= 8

    for entry in entries:
        load_table(source, entry, world_without.dsn, run_id="again", clock=CLOCK)
    assert world_without.left() == {}

    with psycopg.connect(world_without.dsn) as connection:
        for entry in entries:
            connection.execute(
                f"delete from raw_bitrix.{entry.name} where _load_id ="
                " (select max(load_id) from ops.loads where target = 'erasure')".encode()
            )
    for entry in entries:
        load_table(source, entry, world_without.dsn, run_id="again", clock=CLOCK)
    assert world_without.left().total() > len(entries)

    again = keep_erased(world_without.eraser_dsn, KEY, lambda account: None, run_id="build", clock=CLOCK)

    assert again.keys() <= world_without.erased.places.keys()
    assert world_without.left() == {}
