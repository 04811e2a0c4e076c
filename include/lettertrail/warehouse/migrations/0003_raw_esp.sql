-- One shape for every ESP; the adapters fill it (lettertrail/esps/port.py).

create table raw_esp.campaigns (
    esp           text not null,
    account       text not null,
    external_id   text not null,
    list_id       text,
    title         text,
    subject       text,
    status        text,
    sent_at       timestamptz,
    emails_sent   bigint,
    utm_campaign  text,
    url           text,
    updated_at    timestamptz,
    payload       jsonb not null,
    _row_hash     bigint not null,
    _loaded_at    timestamptz not null,
    _load_id      bigint not null,
    _deleted_at   timestamptz,
    primary key (esp, account, external_id)
);
comment on table raw_esp.campaigns is 'One row per campaign (letter) of an ESP account.';

create table raw_esp.contacts (
    esp            text not null,
    account        text not null,
    external_id    text not null,
    list_id        text,
    email          text,
    status         text not null check (
        status in ('subscribed', 'unsubscribed', 'cleaned', 'pending', 'transactional', 'archived', 'unknown')
    ),
    status_reason  text,
    opted_in_at    timestamptz,
    changed_at     timestamptz,
    tags           text[],
    payload        jsonb not null,
    _row_hash      bigint not null,
    _loaded_at     timestamptz not null,
    _load_id       bigint not null,
    _deleted_at    timestamptz,
    primary key (esp, account, external_id)
);
create index contacts_email on raw_esp.contacts (email);
comment on table raw_esp.contacts is 'One row per address and list of an ESP account; external_id is <list id>:<member id>.';

create table raw_esp.events (
    esp          text not null,
    account      text not null,
    external_id  text not null,
    campaign_id  text,
    contact_id   text,
    email        text,
    event_type   text not null check (
        event_type in ('sent', 'opened', 'clicked', 'bounced', 'unsubscribed', 'complained', 'unknown')
    ),
    bounce_kind  text check (bounce_kind in ('hard', 'soft')),
    occurred_at  timestamptz,
    url          text,
    is_proxy     boolean,
    reason       text,
    payload      jsonb not null,
    _row_hash    bigint not null,
    _loaded_at   timestamptz not null,
    _load_id     bigint not null,
    _deleted_at  timestamptz,
    primary key (esp, account, external_id)
);
create index events_campaign on raw_esp.events (esp, account, campaign_id);
comment on table raw_esp.events is 'One row per event; external_id is the SHA-256 of its identifying parts, so reading it twice changes nothing.';
comment on column raw_esp.events.is_proxy is 'Whether a machine did it, where the ESP says so; null where it does not.';
