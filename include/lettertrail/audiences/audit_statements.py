"""The SQL of `audit.py`: what should be there (`expected`) against what is (`present`)."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

_ANY = sql.SQL("true")


def _expect(*values: str, among: sql.Composable = _ANY) -> sql.Composed:
    """Makes `expected` of the records of a target whose confirmed value is one of these."""
    return sql.SQL("""
create temporary table expected on commit drop as
select destination, account, audience, record_key
from ops.acknowledged
where destination = %(destination)s
    and account = %(account)s
    and audience = %(audience)s
    and value in ({values})
    and {among}
""").format(values=sql.SQL(", ").join(map(sql.Literal, values)), among=among)


EXPECT_MEMBERS = _expect("member", "found", "remove_refused")
EXPECT_SUPPRESSED = _expect(
    "suppressed",
    "found",
    among=sql.SQL("""record_key in (
        select lower(btrim(email))
        from raw_esp.contacts
        where esp = %(destination)s and account = %(account)s and _deleted_at is null
    )"""),
)


def expect_flags(relation: Sequence[str], key: str) -> sql.Composed:
    """`expected` for the marketing flag of cards: of those that `relation`, by `key`, says must not be written to."""
    among = sql.SQL("record_key in (select {key}::text from {relation} where not is_marketing_allowed)")
    return _expect(
        "suppressed",
        "found",
        "release_refused",
        among=among.format(key=sql.Identifier(key), relation=sql.Identifier(*relation)),
    )


COUNT_AUDIT = """
with

there as (select distinct record_key from present)

select
    count(*) filter (where expected.record_key is not null),
    count(*) filter (where there.record_key is not null),
    count(*) filter (where there.record_key is null),
    count(*) filter (where expected.record_key is null)
from expected
full join there using (record_key)
"""
SAMPLE_MISSING = """
select left(encode(sha256(record_key::bytea), 'hex'), 12) as fingerprint
from expected
where record_key not in (select record_key from present)
order by fingerprint
limit %s
"""
FORGET_MISSING = """
delete from ops.acknowledged as known
using expected
where (known.destination, known.account, known.audience, known.record_key)
    = (expected.destination, expected.account, expected.audience, expected.record_key)
    and not exists (select from present where present.record_key = expected.record_key)
"""
MARK_DRIFTED = """
update ops.acknowledged as known
set value = 'drifted'
from expected
where (known.destination, known.account, known.audience, known.record_key)
    = (expected.destination, expected.account, expected.audience, expected.record_key)
    and not exists (select from present where present.record_key = expected.record_key)
"""
KEEP_STRANGERS = """
insert into ops.acknowledged (destination, account, audience, record_key, value, confirmed_at)
select distinct %(destination)s, %(account)s, %(audience)s, record_key, 'found', %(at)s::timestamptz
from present
on conflict do nothing
"""
RECORD_AUDIT = """
insert into ops.audits (
    run_id, destination, account, audience, expected, found, missing, strangers, repaired, sample, started_at,
    finished_at
)
values (
    %(run_id)s, %(destination)s, %(account)s, %(audience)s, %(expected)s, %(found)s, %(missing)s, %(strangers)s,
    %(repaired)s, %(sample)s, %(started_at)s, %(at)s
)
"""
LAST_AUDITS = "select audience, max(finished_at) from ops.audits where account = %(account)s group by audience"
NEWEST_AUDITS = """
select distinct on (destination, account, audience)
    destination, account, audience, expected, missing, strangers, repaired, finished_at
from ops.audits
order by destination, account, audience, audit_id desc
"""
