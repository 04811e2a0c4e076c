"""Whom a reference means: all addresses, numbers, names and cards of one person, from marts and raw tables."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from psycopg import sql

from lettertrail.erasure.keys import PHONE_DIGITS, REFERENCE, REFERENCE_PREFIX, ErasureKey, is_pseudonym, last_digits
from lettertrail.errors import ConfigurationError
from lettertrail.esps.port import normalise_email
from lettertrail.warehouse.connect import Connection

CARDS = {"contact": "CONTACT", "lead": "LEAD", "user": None}
"""Card type -> its word in `b_crm_field_multi.entity_id`."""


@dataclass(frozen=True, slots=True)
class Person:
    """Everything by which rows of a person are found. Not for logs."""

    person_id: str
    emails: tuple[str, ...] = field(repr=False)
    phones: tuple[str, ...] = field(repr=False)
    names: tuple[str, ...] = field(repr=False)
    full_names: tuple[str, ...] = field(repr=False)
    cards: Mapping[str, tuple[int, ...]]
    pseudonyms: tuple[str, ...] = ()
    """What stands already for addresses and numbers that were erased before."""


def find_person(connection: Connection, key: ErasureKey, reference: str) -> Person | None:
    """The person behind a card or a keyed hash; None when the marts know nobody of that reference.

    An address that is shared by several people (`shared_identifier_limit`) is nobody's, and not among these.

    Raises:
        ConfigurationError: the reference is none, or the models were never built.
    """
    if not re.fullmatch(REFERENCE, reference):
        raise ConfigurationError(
            "param person: give a card (contact:17, lead:17, user:17) or what `scripts/lettertrail reference` says, "
            "never an address"
        )
    if not is_there(connection, "marts.dim_person_redirect"):
        raise ConfigurationError("the marts were never built: run build_marts first")
    identifier = f"bitrix:{reference.removeprefix('bitrix:')}"
    if reference.startswith(REFERENCE_PREFIX):
        identifier = _identifier(connection, key, reference)
    row = connection.execute(
        "select person_id from marts.dim_person_redirect where old_person_id = %s", [identifier]
    ).fetchone()
    if row is None:
        return None
    known = connection.execute(
        "select kind, identifier, card_id from intermediate.int_identifiers_joined where person_id = %s", [row[0]]
    ).fetchall()
    cards = {kind: tuple(sorted(card for found, _, card in known if found == kind)) for kind in CARDS}
    emails = {normalise_email(value) for kind, value, _ in known if kind == "email"}
    phones = {value for kind, value, _ in known if kind == "phone"}
    for kind, value in _written_on_cards(connection, cards):
        (emails if kind == "EMAIL" else phones).add(normalise_email(value) if kind == "EMAIL" else value)
    names = list(_names(connection, cards))
    return Person(
        person_id=row[0],
        emails=tuple(sorted(each for each in emails if "@" in each and not is_pseudonym(each))),
        phones=tuple(sorted(_longest(each for each in phones if not is_pseudonym(each)))),
        names=tuple(sorted({part for pair in names for part in pair if len(part) > 1}, key=len, reverse=True)),
        full_names=tuple(sorted({joined for pair in names for joined in _both_ways(pair)})),
        cards=cards,
        pseudonyms=tuple(sorted(each for each in (*emails, *phones) if is_pseudonym(each))),
    )


def _identifier(connection: Connection, key: ErasureKey, reference: str) -> str:
    """The person behind a keyed hash; empty when there is none."""
    rows = connection.execute(
        "select person_id, person_id from marts.dim_person"
        " union all select person_id, identifier from intermediate.int_identifiers_joined"
        " where kind in ('email', 'phone')"
    )
    return next((person for person, known in rows if hmac.compare_digest(key.reference(known), reference)), "")


def _written_on_cards(connection: Connection, cards: Mapping[str, tuple[int, ...]]) -> Iterable[tuple[str, str]]:
    """What stands on the person's cards and on nobody else's, also what was taken off them since."""
    for kind, word in CARDS.items():
        if word and cards[kind] and is_there(connection, "raw_bitrix.b_crm_field_multi"):
            yield from connection.execute(
                """
                select own.type_id, own.value
                from raw_bitrix.b_crm_field_multi as own
                where own.entity_id = %(word)s and own.element_id = any(%(ids)s) and own.type_id in ('EMAIL', 'PHONE')
                    and own.value is not null
                    and not exists (
                        select from raw_bitrix.b_crm_field_multi as other
                        where lower(btrim(other.value)) = lower(btrim(own.value)) and other.type_id = own.type_id
                            and not (other.entity_id = 'CONTACT' and other.element_id = any(%(contacts)s))
                            and not (other.entity_id = 'LEAD' and other.element_id = any(%(leads)s))
                    )
                """,
                {"word": word, "ids": list(cards[kind]), **{f"{name}s": list(ids) for name, ids in cards.items()}},
            ).fetchall()


def _names(connection: Connection, cards: Mapping[str, tuple[int, ...]]) -> Iterable[tuple[str, ...]]:
    for kind, table in (("contact", "b_crm_contact"), ("lead", "b_crm_lead"), ("user", "b_user")):
        if cards[kind] and is_there(connection, f"raw_bitrix.{table}"):
            query = sql.SQL("select name, last_name from {} where id = any(%s)").format(
                sql.Identifier("raw_bitrix", table)
            )
            rows: list[tuple[Any, ...]] = connection.execute(query, [list(cards[kind])]).fetchall()
            yield from (tuple(str(part).strip() for part in row if part) for row in rows)


def _both_ways(pair: tuple[str, ...]) -> tuple[str, ...]:
    return (" ".join(pair), " ".join(reversed(pair))) if len(pair) == 2 else ()


def _longest(phones: Iterable[str]) -> Iterable[str]:
    """One spelling for each number; what is too short to be one is left out."""
    found: dict[str, str] = {}
    for phone in sorted(phones, key=len):
        if len(last_digits(phone)) == PHONE_DIGITS:
            found[last_digits(phone)] = phone
    return found.values()


def is_there(connection: Connection, relation: str) -> bool:
    """Whether the warehouse has that table."""
    row = connection.execute("select to_regclass(%s) is not null", [relation]).fetchone()
    assert row is not None
    return bool(row[0])
