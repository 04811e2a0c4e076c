"""A small warehouse that is right, for the tests to break."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)

BITRIX = """
create table raw_bitrix.b_sender_mailing_chain (
    id integer, mailing_id integer, status text, is_trigger text, _deleted_at timestamptz
);
insert into raw_bitrix.b_sender_mailing_chain select n, 1, 'Y', 'N' from generate_series(1, 3) as n;
create table raw_bitrix.b_sender_posting (
    id integer, mailing_chain_id integer, status text, date_send timestamp, date_sent timestamp, _deleted_at timestamptz
);
insert into raw_bitrix.b_sender_posting
select n, n, 'S', timestamp '2026-10-01 10:00', timestamp '2026-10-01 11:00' from generate_series(1, 3) as n;
create table raw_bitrix.b_sender_contact (
    id integer, code text, type_id smallint, blacklisted text, is_unsub text, consent_status text,
    _deleted_at timestamptz
);
insert into raw_bitrix.b_sender_contact
select n, 'person' || n || '@example.com', 1, 'N', 'N', 'N' from generate_series(1, 40) as n;
create table raw_bitrix.b_sender_posting_recipient (
    id integer, posting_id integer, contact_id integer, status text, is_read text, is_click text, is_unsub text,
    _deleted_at timestamptz
);
insert into raw_bitrix.b_sender_posting_recipient
select n, 1 + n % 3, 1 + n / 3, 'N', 'N', 'N', 'N' from generate_series(1, 100) as n;
create table raw_bitrix.b_sender_posting_read (
    id integer, posting_id integer, recipient_id integer, _deleted_at timestamptz
);
insert into raw_bitrix.b_sender_posting_read select n, 1, n from generate_series(1, 50) as n;
create table raw_bitrix.b_crm_contact (id bigint, _deleted_at timestamptz);
insert into raw_bitrix.b_crm_contact select n from generate_series(1, 40) as n;
create table raw_bitrix.b_crm_field_multi (
    id integer, entity_id text, element_id integer, type_id text, _deleted_at timestamptz
);
insert into raw_bitrix.b_crm_field_multi select n, 'CONTACT', n, 'EMAIL' from generate_series(1, 40) as n;
"""

ESP = """
insert into raw_esp.campaigns
    (esp, account, external_id, status, sent_at, payload, _row_hash, _loaded_at, _load_id)
select 'mailchimp', 'mailchimp', 'c' || n, 'sent', timestamptz '2026-10-01 10:00+00', '{}', 0, now(), 1
from generate_series(1, 3) as n;
insert into raw_esp.contacts
    (esp, account, external_id, email, status, changed_at, payload, _row_hash, _loaded_at, _load_id)
select 'mailchimp', 'mailchimp', 'l:' || n, 'person' || n || '@example.com', 'subscribed',
    timestamptz '2026-09-01 10:00+00', '{}', 0, now(), 1
from generate_series(1, 100) as n;
insert into raw_esp.events
    (esp, account, external_id, campaign_id, contact_id, email, event_type, occurred_at, payload, _row_hash,
    _loaded_at, _load_id)
select 'mailchimp', 'mailchimp', 'e' || n, 'c' || 1 + n % 3, 'l:' || n, 'person' || n || '@example.com', 'sent',
    timestamptz '2026-10-01 10:00+00', '{}', 0, now(), 1
from generate_series(1, 100) as n;
"""

SEGMENTS = """
create schema if not exists marts;
create schema if not exists segments;
create table marts.dim_suppression (
    email text, person_id text, scope text, state text, is_from_other_email boolean
);
insert into marts.dim_suppression
select 'person' || n || '@example.com', n::text, 'everything', 'unsubscribed', n = 1
from generate_series(1, 10) as n;
create table marts.fct_suppression_evidence as select *, true as is_standing from marts.dim_suppression;
create table segments.seg_lapsed (email text, person_id text, city text);
insert into segments.seg_lapsed select 'person' || n || '@example.com', n::text, 'Omsk'
from generate_series(1, 300) as n;
insert into ops.segments values ('seg_lapsed', 'segments.seg_lapsed', '{}', now());
"""

LOADS = """
insert into ops.loads
    (run_id, target, strategy, read, inserted, updated, unchanged, quarantined, deleted, started_at, finished_at)
values
    ('r1', 'raw_bitrix.b_crm_contact', 'modified', 100, 100, 0, 0, 0, 0, '2026-10-31 10:00+00', '2026-10-31 10:00+00'),
    ('r2', 'raw_bitrix.b_crm_contact', 'modified', 1, 0, 1, 0, 0, %(deleted)s,
     '2026-11-01 10:00+00', '2026-11-01 10:00+00'),
    ('r2', 'raw_esp.contacts:mailchimp', 'poll', 100, 100, 0, 0, 0, 0,
     '2026-11-01 10:00+00', '2026-11-01 10:00+00');
"""
# Sent and opened on every weekday of September and October, Moscow time; nothing on Saturdays and Sundays.
WEEKDAYS = """
alter table raw_bitrix.b_sender_posting_read add column date_insert timestamp;
insert into raw_bitrix.b_sender_posting_read (id, posting_id, recipient_id, date_insert)
select 1000 + row_number() over (), 1, 1 + row_number() over () % 50, day + interval '23 hours 30 minutes'
from generate_series(timestamp '2026-09-01', timestamp '2026-10-30', interval '1 day') as day
cross join generate_series(1, 60)
where extract(isodow from day) < 6;
"""
# As many again, on one weekday.
WEEKDAYS_TWICE = """
insert into raw_bitrix.b_sender_posting_read (id, posting_id, recipient_id, date_insert)
select 100000 + id, 1, 1, date_insert
from (select *, date_insert::date as day from raw_bitrix.b_sender_posting_read where id < 100000) as opens
where extract(isodow from day) = {weekday}"""


class RawData:
    """A warehouse behind the two doors."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        for script in (BITRIX, ESP, SEGMENTS, LOADS % {"deleted": 1}):
            self.execute(script)

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.dsn) as connection:
            connection.execute(statement)

    def checks(self) -> list[dict[str, Any]]:
        with psycopg.connect(self.dsn, row_factory=dict_row) as connection:
            return connection.execute("select * from ops.quality_checks order by check_id").fetchall()

    def failed_rows(self) -> list[dict[str, Any]]:
        with psycopg.connect(self.dsn, row_factory=dict_row) as connection:
            return connection.execute(
                "select * from ops.failed_rows order by suite, expectation, record ->> 'id', record_hash"
            ).fetchall()
