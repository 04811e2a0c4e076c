"""Takes a person's addresses, numbers and names out of every text column there is.

Tables and columns come from the catalogue of the database, so one that was added yesterday is searched like the others.
What stands for an address is always the same, so rows still join each other, and counts and sums stay what they were.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from psycopg import sql

from lettertrail.erasure.keys import ErasureKey, last_digits
from lettertrail.erasure.places import KEPT_FIELDS, PROOF, SCHEMAS, Place
from lettertrail.warehouse.connect import Connection

ERASED = "erased"
TEXTS = ("text", "varchar", "bpchar", "json", "jsonb", "_text", "_varchar")
DOCUMENTS = ("json", "jsonb")
_SHA_PREFIX = 12
_SEPARATORS = r"[ ()-]*"
"""Between the digits of a number; the same as in `Search.finds`."""
OWN_COLUMNS = ("_load_id", "_loaded_at")
"""Whoever builds from raw tables finds changed rows by these."""


@dataclass(frozen=True, slots=True)
class Token:
    """A regular expression (PostgreSQL's and Python's alike, case ignored) and what takes its place."""

    pattern: str = field(repr=False)
    instead: str
    part: str = field(repr=False)
    """A plain text that every match holds, lower case, once separators are taken out: quicker to look for."""


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched for: `strong` marks a row as the person's, `names` are taken out of such rows only."""

    strong: tuple[Token, ...]
    names: tuple[str, ...] = field(repr=False)

    @property
    def pattern(self) -> str:
        """Any of the strong tokens."""
        return "|".join(f"(?:{token.pattern})" for token in self.strong)

    def finds(self, table: Table, row: str) -> sql.Composable:
        """The condition that a row of the table, named `row`, holds a strong token."""
        parts = [f"%{_like(token.part)}%" for token in self.strong]
        texts = [sql.SQL("{}::text").format(sql.Identifier(row, column)) for column in table.texts]
        return sql.SQL(
            "(translate(lower(concat_ws(' ', {texts})), {separators}, '') like any({parts})"
            " and concat_ws(' ', {texts}) ~* {pattern})"
        ).format(
            texts=sql.SQL(", ").join(texts),
            separators=sql.Literal(" ()-"),
            parts=sql.Literal(parts),
            pattern=sql.Literal(self.pattern),
        )


@dataclass(frozen=True, slots=True)
class Table:
    """A table that holds texts."""

    schema: str
    name: str
    columns: Mapping[str, str]
    """Every column -> its type."""
    key: tuple[str, ...]
    worded: tuple[str, ...] = ()
    """Columns that take words of ours only, such as a status; somebody may be called like one of them."""

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def relation(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(name for name, kind in self.columns.items() if kind in TEXTS)


@dataclass(frozen=True, slots=True)
class Scope:
    """Which rows are looked at: all, or those that some loads wrote; and the load that says they changed.

    Rows that do not say which load wrote them are looked at whenever a load of their table is.
    """

    load_id: int
    at: datetime
    loads: tuple[int, ...] | None = None

    def condition(self, table: Table) -> sql.Composable:
        if self.loads is None or "_load_id" not in table.columns:
            return sql.SQL("true")
        return sql.SQL("_load_id = any({})").format(sql.Literal([*self.loads, self.load_id]))

    def marks(self, table: Table) -> list[sql.Composable]:
        if not all(name in table.columns for name in OWN_COLUMNS):
            return []
        return [
            sql.SQL("_load_id = {}").format(sql.Literal(self.load_id)),
            sql.SQL("_loaded_at = {}").format(sql.Literal(self.at)),
        ]


def search_for(key: ErasureKey, emails: Iterable[str], phones: Iterable[str], names: Sequence[str]) -> Search:
    """The tokens of a person: each address and number as people and programs spell it, and the hashes made of it.

    Services (a Mailchimp member's id) and the models (a person's id) use the MD5, plans and audits a part of SHA-256.
    """
    tokens: list[Token] = []
    for email in emails:
        pseudonym = key.email(email)
        tokens.append(Token(_email_pattern(email), pseudonym, _email_part(email)))
        tokens += _hashes(email, pseudonym)
    for phone in phones:
        pseudonym = key.phone(phone)
        tokens.append(Token(_phone_pattern(phone), pseudonym, last_digits(phone)))
        tokens += _hashes(phone, pseudonym)
    return Search(tuple(tokens), tuple(names))


def tables(connection: Connection, schemas: Sequence[str] = SCHEMAS) -> list[Table]:
    """All tables with a text column, of which something may be erased."""
    rows = connection.execute(
        """
        select
            space.nspname, class.relname,
            (
                select jsonb_object_agg(attname, typname)
                from pg_attribute
                join pg_type on pg_type.oid = atttypid
                where attrelid = class.oid and attnum > 0 and not attisdropped and attgenerated = ''
            ),
            coalesce((
                select array_agg(attname::text)
                from pg_index
                join pg_attribute on attrelid = indrelid and attnum = any(indkey)
                where indrelid = class.oid and indisprimary
            ), '{}'),
            coalesce((
                select array_agg(distinct attname::text)
                from pg_constraint
                join pg_attribute on attrelid = conrelid and attnum = any(conkey)
                where conrelid = class.oid and contype in ('c', 'f')
            ), '{}')
        from pg_class as class
        join pg_namespace as space on space.oid = relnamespace
        where relkind = 'r' and nspname = any(%s) and not (nspname = 'ops' and relname = any(%s))
        order by 1, 2
        """,
        [list(schemas), list(PROOF)],
    ).fetchall()
    found = [Table(schema, name, columns or {}, tuple(key), tuple(words)) for schema, name, columns, key, words in rows]
    return [table for table in found if table.texts]


def scrub(connection: Connection, table: Table, search: Search, scope: Scope) -> int:
    """Takes the tokens out of one table; gives the number of rows that changed."""
    if not search.strong:
        return 0
    where = sql.SQL("({}) and {}").format(scope.condition(table), search.finds(table, "each"))
    names = {"table": table.relation, "where": where}
    found = connection.execute(sql.SQL("select from {table} as each where {where} limit 1").format(**names))
    if found.fetchone() is None:
        return 0
    _drop_twins(connection, table, search, where)
    settings = [
        *(sql.SQL("{} = {}").format(sql.Identifier(column), _without(table, column, search)) for column in table.texts),
        *scope.marks(table),
    ]
    statement = sql.SQL("update {table} as each set {settings} where {where}")
    return connection.execute(statement.format(**names, settings=sql.SQL(", ").join(settings))).rowcount


def clear(connection: Connection, table: Table, place: Place, owners: Mapping[str, object], scope: Scope) -> int:
    """Empties what is the person's in one place; rows that are empty already are left alone.

    Args:
        owners: the parameters of `Place.owned`.
    """
    wanted: dict[str, sql.Composable] = {column: sql.SQL("null") for column in _cleared(table, place)}
    wanted |= {column: sql.SQL(value) for column, value in place.replaced.items() if column in table.columns}
    if not wanted:
        return 0
    differs = [
        sql.SQL("{}::text is distinct from ({})::text").format(sql.Identifier(column), value)
        for column, value in wanted.items()
    ]
    settings = [
        *(sql.SQL("{} = {}").format(sql.Identifier(column), value) for column, value in wanted.items()),
        *scope.marks(table),
    ]
    statement = sql.SQL("update {} set {} where ({}) and ({}) and ({})").format(
        table.relation,
        sql.SQL(", ").join(settings),
        beside_parameters(scope.condition(table), connection),
        sql.SQL(place.owned),
        sql.SQL(" or ").join(differs),
    )
    return connection.execute(statement, owners).rowcount


def beside_parameters(part: sql.Composable, connection: Connection) -> sql.Composable:
    """A part without parameters, spelled for a statement that has some."""
    return sql.SQL(part.as_string(connection).replace("%", "%%"))


def _cleared(table: Table, place: Place) -> list[str]:
    if place.cleared == ("*",):
        kept = (*KEPT_FIELDS, *table.key, "value_id")
        return [name for name in table.columns if name not in kept and not name.startswith("_")]
    return [column for column in place.cleared if column in table.columns]


def _without(table: Table, column: str, search: Search) -> sql.Composable:
    """The column's value without any of the tokens."""
    kind = table.columns[column]
    value: sql.Composable = sql.SQL("{}::text").format(sql.Identifier(column))
    for token in search.strong:
        value = sql.SQL("regexp_replace({}, {}, {}, 'gi')").format(
            value, sql.Literal(token.pattern), sql.Literal(token.instead)
        )
    if column not in table.key and (kind in DOCUMENTS or column not in table.worded):
        for name in search.names:
            pattern = rf"(?<![[:alnum:]_]){_escape(name)}(?![[:alnum:]_])"
            value = sql.SQL("regexp_replace({}, {}, {}, 'gi')").format(value, sql.Literal(pattern), sql.Literal(ERASED))
    return sql.SQL("({})::{}").format(value, sql.SQL({"_text": "text[]", "_varchar": "varchar[]"}.get(kind, kind)))


def _drop_twins(connection: Connection, table: Table, search: Search, where: sql.Composable) -> None:
    """A row that came back under its old key takes the place of the one that was erased before."""
    texts = [column for column in table.key if column in table.texts]
    if not texts:
        return
    same = [sql.SQL("held.{} = back.{}").format(sql.Identifier(column), sql.Identifier(column)) for column in table.key]
    keys = [
        sql.SQL("{} as {}").format(
            _without(table, column, search) if column in texts else sql.Identifier(column), sql.Identifier(column)
        )
        for column in table.key
    ]
    connection.execute(
        sql.SQL(
            "delete from {table} as held using (select {keys} from {table} as each where {where}) as back"
            " where {same} and not {found}"
        ).format(
            table=table.relation,
            keys=sql.SQL(", ").join(keys),
            where=where,
            same=sql.SQL(" and ").join(same),
            found=search.finds(table, "held"),
        )
    )


def _hashes(value: str, pseudonym: str) -> list[Token]:
    made = [(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(),
             hashlib.sha256(text.encode()).hexdigest()) for text in (value, pseudonym)]  # fmt: skip
    (md5, sha), (other_md5, other_sha) = made
    return [
        Token(rf"(?<![0-9a-f]){md5}(?![0-9a-f])", other_md5, md5),
        Token(rf"(?<![0-9a-f]){sha[:_SHA_PREFIX]}(?![0-9a-f])", other_sha[:_SHA_PREFIX], sha[:_SHA_PREFIX]),
        Token(rf"(?<![0-9a-f]){sha}(?![0-9a-f])", other_sha, sha),
    ]


def _email_pattern(email: str) -> str:
    """The address, also percent-encoded in a link; not as a part of a longer one."""
    spelled = _escape(email).replace("@", "(?:@|%40|%2540)").replace(r"\+", r"(?:\+|%2B)")
    return rf"(?:(?<![a-z0-9._+%-])|(?<=%[0-9a-f][0-9a-f])){spelled}(?![a-z0-9-]|\.[a-z0-9])"


def _email_part(email: str) -> str:
    """The longest part of an address that is spelled the same in a link, without what `finds` takes out."""
    return max(re.split(r"[@+ ()-]", email), key=len)


def _like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _phone_pattern(phone: str) -> str:
    """Its last ten digits however they are set apart, and what is written before them."""
    digits = last_digits(phone)
    code = re.sub(r"\D", "", phone)[: -len(digits)] or "8"
    return rf"(?<![0-9])(?:\+?{code}{_SEPARATORS}|8{_SEPARATORS})?{_SEPARATORS.join(digits)}(?![0-9])"


def _escape(text: str) -> str:
    """`re.escape` for both dialects: letters and digits stay, everything else gets a backslash."""
    return "".join(letter if letter.isalnum() or letter in "_@ " else f"\\{letter}" for letter in text)
