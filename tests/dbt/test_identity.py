"""People: against an independent union-find, against the world's truth, and increments against a rebuild."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from tests.dbt.conftest import Built
from tests.dbt.dbt_runs import RepeatedDbt, new_load
from tests.dbt.independent_identity import Node, Row, identify

from lettertrail.sandbox.world import World

IDENTITY = "+int_identifiers_joined"
CHAIN = 300
WRITTEN_TO = f"""
    select contact.id
    from raw_bitrix.b_crm_contact as contact
    inner join raw_bitrix.b_crm_field_multi as field
        on field.entity_id = 'CONTACT' and field.element_id = contact.id and field.type_id = 'EMAIL'
    inner join raw_bitrix.b_sender_contact as address
        on address.type_id = 1 and lower(address.code) = lower(trim(field.value))
    inner join raw_bitrix.b_sender_posting_recipient as recipient
        on recipient.contact_id = address.id
            and recipient.fields ~ ('"CRM_CONTACT_ID";[^0-9]*([0-9]+:")?' || contact.id || '[";]')
    where contact.id > {CHAIN} + 1 and field._deleted_at is null and field.id % 29 <> 0
        and contact._deleted_at is null and address._deleted_at is null
    order by contact.id
    limit 1
"""
"""Outside the chain, and letters tell whose card the address was: of a merged card nothing else does."""


class Raw:
    """The raw tables of one warehouse."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def rows(self, table: str, *, gone: bool = False) -> list[Row]:
        """All rows of a table, with `gone` also the deleted ones."""
        where = "" if gone else " where _deleted_at is null"
        with psycopg.connect(self._dsn, row_factory=dict_row) as connection:
            return connection.execute(f"select * from {table}{where}").fetchall()


def stored_people(dsn: str) -> set[frozenset[Node]]:
    """All people of the built warehouse, each as the set of their identifiers."""
    found: dict[str, set[Node]] = defaultdict(set)
    with psycopg.connect(dsn) as connection:
        for kind, identifier, card, person in connection.execute(
            "select kind, identifier, card_id, person_id from intermediate.int_identifiers_joined"
        ):
            found[person].add((kind, identifier if card is None else card))
    return {frozenset(group) for group in found.values()}


def stored_ids(dsn: str) -> dict[str, str]:
    """The person of every identifier."""
    with psycopg.connect(dsn) as connection:
        return dict(
            connection.execute("select identifier_id, person_id from intermediate.int_identifiers_joined").fetchall()
        )


def true_people(world: World) -> dict[Node, int]:
    """Which person the world says an identifier is of."""
    truth: dict[Node, int] = {}
    for person, email, former, phone, has_card in zip(
        *(world.people[name] for name in ("person", "email", "former_email", "phone", "on_bitrix")), strict=True
    ):
        truth["email", email] = truth["phone", phone] = person
        if isinstance(former, str):
            truth["email", former] = person
        if has_card:
            truth["contact", person] = person
    for table, column, kind in ((world.cards, "contact_id", "contact"), (world.leads, "lead", "lead")):
        truth |= {(kind, number): person for number, person in zip(table[column], table["person"], strict=True)}
    return truth


def test_everybody_agrees(built: Built) -> None:
    """Every identifier of any kind is with the same others as in the independent calculation."""
    people = stored_people(built.dsn)
    assert people == identify(Raw(built.dsn)).components()
    kinds = {kind for person in people for kind, _ in person}
    assert kinds == {"contact", "lead", "company", "user", "email", "phone"}
    assert sum(len(person) > 3 for person in people) > 20


def test_people_are_the_worlds_people(built: Built, world: World) -> None:
    """Nobody is two people, and hardly anybody is torn apart; both shares are printed."""
    truth = true_people(world)
    components = [{truth[node] for node in person if node in truth} for person in stored_people(built.dsn)]
    joined = [owners for owners in components if owners]
    precision = sum(len(owners) == 1 for owners in joined) / len(joined)
    pieces: dict[int, int] = defaultdict(int)
    for owners in joined:
        for owner in owners:
            pieces[owner] += 1
    recall = sum(count == 1 for count in pieces.values()) / len(pieces)
    print(f"people: precision {precision:.4f}, recall {recall:.4f} of {len(pieces)}")  # noqa: T201
    assert precision == 1
    assert recall >= 0.98


def test_every_id_leads_to_its_person(built: Built) -> None:
    """The redirects hold every identifier's id once, and a person's own id leads to itself."""
    redirects = {
        row["old_person_id"]: row["person_id"] for row in built.rows("select * from marts.dim_person_redirect")
    }
    assert redirects.items() >= stored_ids(built.dsn).items()
    assert all(redirects[person] == person for person in set(redirects.values()))
    assert any(old != new for old, new in redirects.items())


def test_cards_phones_and_emails_are_the_identifiers(built: Built) -> None:
    """The three ways to a person have a row for every identifier of their kind."""
    counts = built.rows(
        """
        select
            (select count(*) from intermediate.int_people_emails) as email,
            (select count(*) from intermediate.int_people_phones) as phone,
            (select count(*) from intermediate.int_people_crm_cards) as card
        """
    )[0]
    found: dict[str, int] = defaultdict(int)
    for person in stored_people(built.dsn):
        for kind, _ in person:
            found[kind if kind in ("email", "phone") else "card"] += 1
    assert counts == found


@pytest.fixture
def change(changed_dsn: str) -> Any:
    """Runs statements as one load would: the rows they touch carry its number, and the ledger has it."""

    def run(*statements: str) -> None:
        with psycopg.connect(changed_dsn) as connection:
            load = new_load(connection)
            for statement in statements:
                found = connection.execute(statement.replace("{load}", str(load)))
                assert found.rowcount > 0, statement

    return run


def test_increments_are_a_rebuild(changed_dsn: str, change: Any, tmp_path: Path) -> None:
    """Cards and addresses come, go, move and come back in any order; each increment agrees, and so does a rebuild."""
    change(*_first_changes())
    assert_increment_agrees(changed_dsn, tmp_path)
    (merged,) = Built(changed_dsn, {}).rows(WRITTEN_TO)
    change(*_second_changes(merged["id"]))
    assert_increment_agrees(changed_dsn, tmp_path)
    assert stored_ids(changed_dsn)[f"bitrix:contact:{merged['id']}"] == stored_ids(changed_dsn)["bitrix:contact:40"]
    stored = stored_ids(changed_dsn)
    RepeatedDbt(changed_dsn, tmp_path).run(IDENTITY, "--full-refresh")
    assert stored_ids(changed_dsn) == stored


def assert_increment_agrees(dsn: str, work_dir: Path) -> None:
    """Builds what changed and compares everybody."""
    RepeatedDbt(dsn, work_dir).run(IDENTITY)
    assert stored_people(dsn) == identify(Raw(dsn)).components()


def _deleted(table: str, where: str) -> str:
    return f"update raw_bitrix.{table} set _deleted_at = '2026-11-01 00:00:00+00', _load_id = {{load}} where {where}"


def _came_back(table: str, where: str) -> str:
    return (
        f"update raw_bitrix.{table} set _deleted_at = null, _load_id = {{load}} "
        f"where _deleted_at is not null and ({where})"
    )


def _new_email(number: str, contact: str, value: str, condition: str) -> str:
    return (
        "insert into raw_bitrix.b_crm_field_multi (id, entity_id, element_id, type_id, value_type, complex_id, value, "
        "_row_hash, _loaded_at, _load_id) "
        f"select {number}, 'CONTACT', {contact}, 'EMAIL', 'WORK', 'EMAIL_WORK', {value}, 0, '2026-11-01', {{load}} "
        f"from generate_series(1, {CHAIN}) as numbers (n) where {condition}"
    )


def _first_changes() -> tuple[str, ...]:
    """Much is deleted, a phone is made up for many, and contacts become a long chain by shared addresses."""
    return (
        _deleted("b_crm_field_multi", "id % 7 = 0"),
        _deleted("b_crm_contact", "id % 11 = 0"),
        _deleted("b_crm_lead", "id % 6 = 0"),
        _deleted("b_user", "id % 9 = 0"),
        _deleted("b_sender_posting_recipient", "id % 4 = 0"),
        "update raw_bitrix.b_crm_lead set contact_id = null, _load_id = {load} where id % 5 = 0",
        "update raw_bitrix.b_crm_field_multi set value = '8 (999) 999-99-99', _load_id = {load} "
        "where type_id = 'PHONE' and id % 13 = 0",
        _new_email("10000000 + n", "n", "'link-' || n || '@chain.example'", "n % 2 = 0"),
        _new_email("20000000 + n", "n + 1", "'Link-' || n || '@chain.example'", "true"),
    )


def _second_changes(merged: int) -> tuple[str, ...]:
    """The chain gets its other half and loses some of it, much comes back, cards are thrown away and merged by hand."""
    return (
        _new_email("10000000 + n", "n", "'link-' || n || '@chain.example'", "n % 2 = 1 and n % 50 <> 1"),
        _deleted("b_crm_field_multi", "id > 20000000 and id % 40 = 0"),
        _came_back("b_crm_field_multi", "id % 2 = 0"),
        _came_back("b_crm_contact", "id % 3 = 0"),
        _came_back("b_crm_lead", "id % 4 <> 0"),
        "update raw_bitrix.b_crm_field_multi set value = 'made-up-' || id || '@example.com', _load_id = {load} "
        "where type_id = 'EMAIL' and id % 29 = 0",
        "update raw_bitrix.b_user set email = 'new-' || id || '@example.com', _load_id = {load} where id % 10 = 0",
        "update raw_bitrix.b_user set external_auth_id = 'bot', _load_id = {load} where id % 17 = 0",
        "update raw_bitrix.b_crm_company set is_my_company = 'Y', _load_id = {load} where id = 1",
        # thrown away: the bin's row has the card's addresses now
        "insert into raw_bitrix.b_recyclebin "
        "(id, entity_id, module_id, entity_type, timestamp, _row_hash, _loaded_at, _load_id) "
        "values (900, '30', 'crm', 'crm_contact', '2026-11-01', 0, '2026-11-01', {load})",
        "update raw_bitrix.b_crm_field_multi set entity_id = 'SUS_CONTACT', element_id = 900, _load_id = {load} "
        "where entity_id = 'CONTACT' and element_id = 30",
        _deleted("b_crm_contact", "id = 30"),
        # merged: contact 40 gets what another one had
        "update raw_bitrix.b_crm_field_multi set element_id = 40, _load_id = {load} "
        f"where entity_id = 'CONTACT' and element_id = {merged}",
        _deleted("b_crm_contact", f"id = {merged}"),
    )
