"""A warehouse with every table there is, one row in each, and the same person in every text of it."""

from __future__ import annotations

import csv
import json
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from psycopg.rows import dict_row
from tests.contract.mailchimp_service import MailchimpService, mailchimp_service
from tests.erasure.residue import residue, traces_of

import lettertrail.bitrix
from lettertrail.bitrix.catalog import load_catalog
from lettertrail.erasure.erase import Approval, Erased, erase_person
from lettertrail.erasure.keys import ErasureKey
from lettertrail.erasure.places import PROOF
from lettertrail.erasure.tell import Others
from lettertrail.warehouse.embedded import EmbeddedPostgres
from lettertrail.warehouse.migrate import migrate
from lettertrail.warehouse.roles import apply_roles

ORIGINAL = "erasure_planted"
PASSWORD = "an eraser's"
KEY = ErasureKey(b"0123456789abcdef0123456789abcdef")
AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
EMAIL = MailchimpService.subscribed
PHONE = "+79161234567"
FIRST, LAST = "Zephyrina", "Quillfeather"
CARD = 17
TRACES = (*traces_of([EMAIL], [PHONE], [FIRST, LAST]), "123-45-67", "916 1234567")
IDENTIFIED = (
    f"<{EMAIL.upper()}> +7 (916) 123-45-67, 8 916 1234567; "
    f"https://shop.example/?who=%3D{EMAIL.replace('@', '%40')}&n=2 joan.{EMAIL}"
)
PLANTED = f"{FIRST} {LAST.lower()} {IDENTIFIED}"
OTHERS = f"joan.{EMAIL}"
MODELS = f"""
create table marts.dim_person_redirect (old_person_id text, person_id text);
create table intermediate.int_identifiers_joined (person_id text, kind text, identifier text, card_id bigint);
create table marts.dim_person (person_id text, primary_email text, first_name text, last_name text, birth_date date);
insert into marts.dim_person_redirect values ('bitrix:contact:{CARD}', 'bitrix:contact:{CARD}');
insert into intermediate.int_identifiers_joined values
    ('bitrix:contact:{CARD}', 'contact', '{CARD}', {CARD}),
    ('bitrix:contact:{CARD}', 'lead', '{CARD}', {CARD}),
    ('bitrix:contact:{CARD}', 'user', '{CARD}', {CARD}),
    ('bitrix:contact:{CARD}', 'email', '{EMAIL}', null),
    ('bitrix:contact:{CARD}', 'phone', '{PHONE}', null);
insert into marts.dim_person values ('bitrix:contact:{CARD}', '{EMAIL}', '{FIRST}', '{LAST}', '1990-05-05');
"""
PROOF_TABLES = tuple(f"ops.{name}" for name in PROOF)
"""Hashes and counts: the tests look at what is in them."""
TYPES = dict.fromkeys(("int", "tin", "med"), "bigint") | dict.fromkeys(("dec", "dou", "flo"), "numeric")
TYPES |= dict.fromkeys(("dat", "tim"), "timestamp")
"""How the types of MySQL begin -> what stands for them here; anything else is a text."""


def dsn_of(role: str, dsn: str) -> str:
    """The address of a database for a role, as Airflow takes it too."""
    parts = urlsplit(dsn)
    return f"postgresql://{role}:{quote(PASSWORD, safe='')}@{parts.hostname}:{parts.port}{parts.path}"


class Scene:
    """The warehouse, looked at from outside."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.eraser_dsn = dsn_of("lettertrail_eraser", dsn)
        self.now = AT

    def execute(self, statement: str, values: Any = None) -> int:
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(statement.encode(), values).rowcount

    def query(self, statement: str, values: Any = None) -> list[dict[str, Any]]:
        with psycopg.connect(self.dsn, row_factory=dict_row) as connection:
            return connection.execute(statement.encode(), values).fetchall()

    def erase(self, others: Others | None = None, *, case: str = "T-1", approved_by: str = "7") -> Erased | None:
        approval = Approval(approved_by, AT)
        return erase_person(
            self.eraser_dsn, KEY, f"contact:{CARD}", others or Others(), case=case, approval=approval, run_id="run",
            clock=lambda: self.now,
        )  # fmt: skip

    def residue(self) -> Counter[str]:
        """Column -> rows in which something of the person stands; another's longer address is not theirs."""
        with psycopg.connect(self.dsn) as connection:
            return residue(connection, TRACES, but=OTHERS)

    def load(self, target: str) -> int:
        """A load in the ledger; its number is for rows that a test writes as a loader would."""
        (row,) = self.query(
            "insert into ops.loads (run_id, target, strategy, read, inserted, updated, unchanged, quarantined, deleted,"
            " started_at, finished_at) values ('load', %s, 'full', 1, 1, 0, 0, 0, 0, %s, %s) returning load_id",
            [target, self.now, self.now],
        )
        return int(row["load_id"])


@pytest.fixture(scope="session")
def planted(postgres: EmbeddedPostgres) -> Scene:
    """Everybody's tables, one row each, planted all over; for tests that change nothing, and to be copied."""
    made = Scene(postgres.ensure_database(ORIGINAL))
    migrate(made.dsn)
    with psycopg.connect(made.dsn) as connection:
        for schema in ("staging", "intermediate", "marts", "segments"):
            connection.execute(f"create schema if not exists {schema}".encode())
        connection.execute(MODELS.encode())
        _make_bitrix(connection)
        _loosen(connection)
        found = connection.execute(
            "select table_schema || '.' || table_name from information_schema.tables where table_type = 'BASE TABLE'"
            " and table_schema in ('raw_bitrix', 'raw_esp', 'raw_inbox', 'ops')"
        ).fetchall()
        for (table,) in found:
            if table not in PROOF_TABLES:
                _plant(connection, table)
    apply_roles(made.dsn, {"lettertrail_eraser": PASSWORD})
    return made


@pytest.fixture(scope="session")
def there(planted: Scene) -> Counter[str]:
    """Where the person stands before anything is erased."""
    return planted.residue()


@pytest.fixture
def scene(planted: Scene, postgres: EmbeddedPostgres) -> Iterator[Scene]:
    """A copy that a test may erase from."""
    name = f"erasure_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres.dsn(), autocommit=True) as admin:
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [ORIGINAL])
        admin.execute(f"create database {name} template {ORIGINAL} strategy file_copy".encode())
        yield Scene(postgres.dsn(name))
        admin.execute(f"drop database {name} with (force)".encode())


@pytest.fixture
def house(warehouse_dsn: str) -> Scene:
    """An ordinary warehouse that knows the person from the marts alone."""
    with psycopg.connect(warehouse_dsn) as connection:
        connection.execute(b"create schema if not exists marts; create schema if not exists intermediate")
        connection.execute(MODELS.encode())
    roles = ("lettertrail_eraser", "lettertrail_loader", "lettertrail_inbox")
    apply_roles(warehouse_dsn, dict.fromkeys(roles, PASSWORD))
    return Scene(warehouse_dsn)


def as_role(house: Scene, role: str) -> str:
    """Its address for a role."""
    return dsn_of(f"lettertrail_{role}", house.dsn)


@pytest.fixture
def mailchimp(tmp_path: Path) -> Iterator[MailchimpService]:
    """An account that has the person."""
    with mailchimp_service(tmp_path) as service:
        yield service


def _make_bitrix(connection: psycopg.Connection[Any]) -> None:
    """The tables of the catalogue, as loads make them."""
    columns: dict[str, dict[str, str]] = {}
    path = Path(lettertrail.bitrix.__file__).parent / "bitrix_columns.csv"
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            kind = TYPES.get(row["mysql_type"].lower().removeprefix("big").removeprefix("small")[:3], "text")
            columns.setdefault(row["table"], {})[row["column"].lower()] = kind
    for entry in load_catalog():
        described = columns.get(entry.name) or {"id": "bigint", "value_id": "bigint", "value": "text"}
        spelled = ", ".join(f'"{name}" {kind}' for name, kind in described.items())
        ours = "_row_hash bigint, _loaded_at timestamptz, _load_id bigint, _deleted_at timestamptz"
        connection.execute(f"create table raw_bitrix.{entry.name} ({spelled}, {ours})".encode())


def _loosen(connection: psycopg.Connection[Any]) -> None:
    """Without checks and references, so that a text can be planted in a column that holds words of ours only."""
    rows = connection.execute(
        "select conrelid::regclass::text, conname from pg_constraint"
        " where contype in ('c', 'f') and connamespace::regnamespace::text in ('ops', 'raw_esp', 'raw_inbox')"
    ).fetchall()
    for table, constraint in rows:
        connection.execute(f'alter table {table} drop constraint "{constraint}"'.encode())


def _plant(connection: psycopg.Connection[Any], table: str) -> None:
    schema, _, name = table.partition(".")
    columns = connection.execute(
        "select column_name, udt_name from information_schema.columns where table_schema = %s and table_name = %s"
        " and is_generated = 'NEVER'",
        [schema, name],
    ).fetchall()
    row = {column: _value(column, kind) for column, kind in columns if column != "_deleted_at"}
    # A key is never somebody's name; the same word in two rows of it could not be told apart afterwards.
    keys = connection.execute(
        "select attname from pg_index join pg_attribute on attrelid = indrelid and attnum = any(indkey)"
        " where indrelid = %s::regclass and indisprimary",
        [table],
    ).fetchall()
    row |= {column: IDENTIFIED for (column,) in keys if row[column] == PLANTED}
    if table == "ops.loads":
        row |= {"read": 1, "inserted": 1, "updated": 0, "unchanged": 0, "quarantined": 0}
    if table == "raw_inbox.deliveries":
        row["content_hash"] = bytes(32)
    if table == "ops.quarantine":
        row["raw"] = json.dumps({"email": EMAIL.encode().hex()})
    if table in ("raw_bitrix.b_crm_contact", "raw_bitrix.b_crm_lead", "raw_bitrix.b_user"):
        row |= {"name": FIRST, "last_name": LAST}
    names = ", ".join(f'"{column}"' for column in row)
    marks = ", ".join(["%s"] * len(row))
    connection.execute(
        f"insert into {table} ({names}) overriding system value values ({marks})".encode(), list(row.values())
    )


def _value(column: str, kind: str) -> Any:
    if column in ("type_id", "owner_type_id", "entity_type_id"):
        return "EMAIL" if kind == "text" else 3
    if kind in ("text", "varchar", "bpchar"):
        return PLANTED
    if kind in ("json", "jsonb"):
        return json.dumps({"to": [PLANTED], "id": CARD})
    if kind == "_text":
        return [PLANTED]
    if kind == "bytea":
        return PLANTED.encode()
    if kind.startswith("timestamp") or kind == "date":
        return AT
    return {"bool": False, "uuid": "00000000-0000-0000-0000-000000000017"}.get(kind, CARD)
