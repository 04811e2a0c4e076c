-- The schemas Python owns. dbt makes staging, intermediate, marts and segments itself.

create schema if not exists raw_bitrix;
comment on schema raw_bitrix is
    'Copies of Bitrix tables under their own names. Naive times are in the site''s zone; staging makes them UTC.';

create schema if not exists raw_esp;
comment on schema raw_esp is 'What the e-mail services (ESPs) report, one shape for all of them, plus the untouched payload.';

create schema if not exists raw_inbox;
comment on schema raw_inbox is 'What webhooks delivered, byte for byte.';

create schema if not exists ops;
comment on schema ops is 'The ledger: what was read, written, refused and sent. Holds addresses: not for reporting roles.';
