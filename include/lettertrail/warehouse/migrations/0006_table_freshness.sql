-- How each table is kept fresh on this installation: decided from what it really has, shown in the DAG's docs.

create table ops.table_freshness (
    target     text primary key,
    kind       text not null,
    declared   text not null,
    strategy   text not null,
    cursor     text,
    reason     text not null,
    probed_at  timestamptz not null
);
comment on table ops.table_freshness is 'One row per raw table: the rule it is kept fresh by here, as of its latest load.';
comment on column ops.table_freshness.kind is 'Transport: mysql, postgresql or bitrix24.';
comment on column ops.table_freshness.declared is 'The strategy of the catalogue, which is the best the table allows.';
comment on column ops.table_freshness.strategy is 'The strategy in force: full, append, modified or touched_by.';
comment on column ops.table_freshness.cursor is 'The change time that is followed; null when there is none to believe.';
comment on column ops.table_freshness.reason is 'What was found, and what follows from it.';
