-- All that an ESP offers: lists, the service's own totals, links, custom fields, and where an event is known from.

create table raw_esp.lists (
    esp          text not null,
    account      text not null,
    external_id  text not null,
    name         text,
    status       text,
    contacts     bigint,
    created_at   timestamptz,
    payload      jsonb not null,
    _row_hash    bigint not null,
    _loaded_at   timestamptz not null,
    _load_id     bigint not null,
    _deleted_at  timestamptz,
    primary key (esp, account, external_id)
);
comment on table raw_esp.lists is 'One row per list (audience, address book, group) of an ESP account.';
comment on column raw_esp.lists.contacts is 'Members of any status, by the service''s count; null where it does not say.';

create table raw_esp.campaign_totals (
    esp                     text not null,
    account                 text not null,
    external_id             text not null,
    sent                    bigint,
    delivered               bigint,
    opens                   bigint,
    opened                  bigint,
    opened_without_proxies  bigint,
    clicks                  bigint,
    clicked                 bigint,
    bounced_hard            bigint,
    bounced_soft            bigint,
    bounced                 bigint,
    unsubscribed            bigint,
    complained              bigint,
    payload                 jsonb not null,
    _row_hash               bigint not null,
    _loaded_at              timestamptz not null,
    _load_id                bigint not null,
    _deleted_at             timestamptz,
    primary key (esp, account, external_id)
);
comment on table raw_esp.campaign_totals is 'The service''s own counts of a campaign, keyed by the campaign''s id; null where it does not say, which is not zero.';
comment on column raw_esp.campaign_totals.opened is 'People, once each; `opens` counts every time.';

create table raw_esp.links (
    esp          text not null,
    account      text not null,
    external_id  text not null,
    campaign_id  text not null,
    url          text not null,
    clicks       bigint,
    clicked      bigint,
    payload      jsonb not null,
    _row_hash    bigint not null,
    _loaded_at   timestamptz not null,
    _load_id     bigint not null,
    _deleted_at  timestamptz,
    primary key (esp, account, external_id)
);
create index links_campaign on raw_esp.links (esp, account, campaign_id);
comment on table raw_esp.links is 'One row per link of a campaign, with the service''s own counts.';

alter table raw_esp.contacts add column fields jsonb not null default '{}';
comment on column raw_esp.contacts.fields is 'Custom fields by the service''s names.';

alter table raw_esp.events
    add column source text not null default 'poll' check (source in ('poll', 'snapshot', 'webhook')),
    add column message_ref text,
    add column user_agent text,
    add column ip text,
    drop constraint events_event_type_check,
    drop constraint events_bounce_kind_check,
    add constraint events_event_type_check check (
        event_type in (
            'sent', 'delivered', 'opened', 'clicked', 'bounced', 'rejected', 'unsubscribed', 'complained', 'unknown'
        )
    ),
    add constraint events_bounce_kind_check check (bounce_kind in ('hard', 'soft', 'block'));
-- What only a webhook or a last state told is looked up among what was polled.
create index events_email on raw_esp.events (esp, account, email, event_type);
comment on column raw_esp.events.source is 'poll: a row of the service; snapshot: a change of a recipient''s last state; webhook.';
comment on column raw_esp.events.message_ref is 'The service''s id of this one message, or our own reference that it gave back.';
comment on column ops.loads.strategy is 'How the rows were chosen: full, append, modified, touched_by, first_copy, verify, poll, window, webhook.';

-- Who a service refuses to mail again is nobody to be mailed by another.
alter table ops.sync_records
    add column evidence text check (evidence in ('unsubscribed', 'complaint', 'hard_bounce', 'erased'));
create index sync_records_evidence on ops.sync_records (record_key) where evidence is not null;
comment on column ops.sync_records.evidence is 'What the refusal itself says about the person; null when it says nothing.';

-- How much of a rate limit is used up, for all processes together.
create table ops.rates (
    name       text primary key,
    due_at     double precision not null
);
comment on table ops.rates is 'One row per rate limit: when its next call is due, in seconds since 1970 by this server''s clock.';
