-- What was found about a table's columns is told once, by the load that follows; until that is committed it waits here.

create table ops.untold_notices (
    target      text not null,
    notice      text not null,
    noticed_at  timestamptz not null,
    primary key (target, notice)
);
comment on table ops.untold_notices is 'Notices whose load is not committed yet; a load takes out those it tells in ops.loads.';
