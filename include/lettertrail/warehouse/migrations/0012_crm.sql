-- What was written to CRM cards, and what must be remembered about it.

create table ops.own_writes (
    card_type       text not null check (card_type in ('contact', 'lead', 'deal')),
    card_id         bigint not null,
    changed_before  timestamptz,
    changed_after   timestamptz,
    primary key (card_type, card_id)
);
comment on table ops.own_writes is
    'One row per CRM card we wrote to. A write moves the card''s time of change, and must not look like news when it comes back.';
comment on column ops.own_writes.changed_before is 'When the card was last changed by anybody but us, as it was before our write; null when the card did not say.';
comment on column ops.own_writes.changed_after is
    'Its time of change after our write: a card that still shows it was not changed since. Null while a write is under way.';

create table ops.follow_ups (
    follow_up_key   text primary key,
    letter_id       text not null,
    person_id       text not null,
    card_type       text not null check (card_type in ('contact', 'lead')),
    card_id         bigint not null,
    responsible_id  bigint,
    opened_at       timestamptz not null,
    noted_at        timestamptz not null
);
create index follow_ups_letter on ops.follow_ups (letter_id);
comment on table ops.follow_ups is
    'One row per letter and person for whom a to-do was decided on, written before the to-do is made: there is never a second one.';
comment on column ops.follow_ups.follow_up_key is
    'Hash of letter and person, `record_key` in ops.sync_records and part of the to-do''s text, by which it is found again.';
