-- Who was drawn to be written to and who to be left out, from when on: the two sides of every segment's trial.

create table ops.holdouts (
    segment      text not null,
    holdout_pct  numeric(5, 2) not null check (holdout_pct > 0 and holdout_pct <= 100),
    person_id    text not null,
    is_held_out  boolean not null,
    assigned_at  timestamptz not null,
    sync_run_id  bigint not null references ops.sync_runs,
    primary key (segment, holdout_pct, person_id)
);
comment on table ops.holdouts is
    'The first push that would have sent a person as a member of a segment with a holdout, whether the draw let it or not. Another share is another trial.';
