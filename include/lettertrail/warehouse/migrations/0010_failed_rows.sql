-- What an expectation found wrong: the rows themselves, so that somebody can look at them after the source was mended.

create table ops.failed_rows (
    suite          text not null,
    expectation    text not null,
    record_hash    text not null,
    record         jsonb not null,
    first_seen_at  timestamptz not null,
    last_seen_at   timestamptz not null check (last_seen_at >= first_seen_at),
    last_check_id  bigint not null references ops.quality_checks (check_id),
    primary key (suite, expectation, record_hash)
);
create index failed_rows_last_seen_at on ops.failed_rows (last_seen_at);
comment on table ops.failed_rows is
    'One row per expectation and row that failed it, at most a hundred new ones per check; forgotten 30 days after it was last seen. Holds personal data.';
comment on column ops.failed_rows.record is 'The row as it was when it was last seen failing.';
comment on column ops.failed_rows.last_check_id is 'The check that saw it last, in ops.quality_checks.';
