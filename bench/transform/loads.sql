-- What the loaders would have written between $from and $until, table by table, each a load of its own with its row in ops.loads.
-- The first time $from is -infinity. A row is written as it stood at $until; later loads change it where something happened.

-- load raw_bitrix.b_sender_mailing full
insert into raw_bitrix.b_sender_mailing (
    id, date_insert, name, site_id, active, track_click, email_from, is_trigger, _row_hash, _loaded_at, _load_id
)
select number, at, 'Campaign ' || number, 's1', 'Y', 'Y', 'news@shop.example', 'N', number, timestamptz '$at', $load_id
from generate_series(1, 20) as number
cross join (select timestamp '$start' - interval '100 days' as at) as made
where at >= '$from' and at < '$until'

-- load raw_bitrix.b_sender_mailing_chain full
insert into raw_bitrix.b_sender_mailing_chain (
    id, mailing_id, status, posting_id, message_code, message_id, is_trigger, date_insert, date_update, last_executed,
    title, reiterate, _row_hash, _loaded_at, _load_id
)
select
    letter, campaign, 'Y', letter, 'mail', letter::text, 'N', sent_at - interval '1 hour', sent_at, sent_at,
    'Letter ' || letter, 'N', letter, timestamptz '$at', $load_id
from bench.letters
where source = 'bitrix' and sent_at >= '$from' and sent_at < '$until'

-- load raw_bitrix.b_sender_message full
insert into raw_bitrix.b_sender_message (id, code, _row_hash, _loaded_at, _load_id)
select letter, 'mail', letter, timestamptz '$at', $load_id
from bench.letters
where source = 'bitrix' and sent_at >= '$from' and sent_at < '$until'

-- load raw_bitrix.b_sender_message_field full
insert into raw_bitrix.b_sender_message_field (message_id, code, type, value, _row_hash, _loaded_at, _load_id)
select letters.letter, fields.code, 'string', fields.value, letters.letter, timestamptz '$at', $load_id
from bench.letters
cross join lateral (
    values
    ('SUBJECT', 'News ' || letters.letter),
    ('LINK_PARAMS', 'utm_source=sender&utm_medium=email&utm_campaign=c' || letters.campaign),
    (
        'MESSAGE',
        '<html><body><p>Hello #NAME#</p>' || (
            select string_agg('<p><a href="https://shop.example/l' || letters.letter || '/' || link || '?a=1&amp;b=2">more</a></p>', '')
            from generate_series(1, 5) as link
        ) || repeat('<p>' || md5(letters.letter::text) || '</p>', 100) || '<a href="#UNSUBSCRIBE_LINK#">leave</a></body></html>'
    )
) as fields (code, value)
where letters.source = 'bitrix' and letters.sent_at >= '$from' and letters.sent_at < '$until'

-- load raw_bitrix.b_sender_message_utm full
insert into raw_bitrix.b_sender_message_utm (message_id, code, value, _row_hash, _loaded_at, _load_id)
select letters.letter, tags.code, tags.value, letters.letter, timestamptz '$at', $load_id
from bench.letters
cross join lateral (
    values
    ('utm_source', 'sender'),
    ('utm_medium', 'email'),
    ('utm_campaign', 'c' || letters.campaign),
    ('utm_content', 'letter_' || letters.letter)
) as tags (code, value)
where letters.source = 'bitrix' and letters.sent_at >= '$from' and letters.sent_at < '$until'

-- load raw_bitrix.b_sender_posting full
insert into raw_bitrix.b_sender_posting (
    id, mailing_id, mailing_chain_id, status, date_create, date_send, date_sent, date_update, count_send_all,
    _row_hash, _loaded_at, _load_id
)
select
    letter, campaign, letter, 'S', sent_at - interval '5 minutes', sent_at, sent_at + interval '2 hours',
    sent_at - interval '5 minutes', $people / $stride, letter, timestamptz '$at', $load_id
from bench.letters
where source = 'bitrix' and sent_at >= '$from' and sent_at < '$until'

-- load raw_bitrix.b_sender_contact touched_by
insert into raw_bitrix.b_sender_contact (
    id, date_insert, date_update, type_id, code, name, blacklisted, is_read, is_click, is_unsub, consent_status,
    _row_hash, _loaded_at, _load_id
)
select
    min(person), min(created_at), min(created_at), 1, email, 'Person ' || min(person), 'N', 'N', 'N', 'N', 'N',
    min(person), timestamptz '$at', $load_id
from bench.people
where created_at >= '$from' and created_at < '$until'
group by email
on conflict do nothing

-- load raw_bitrix.b_sender_posting_recipient touched_by
insert into raw_bitrix.b_sender_posting_recipient (
    id, posting_id, contact_id, status, date_sent, date_update, fields, is_read, is_click, is_unsub,
    _row_hash, _loaded_at, _load_id
)
select
    recipient,
    letter,
    case when person % 1000 < 4 then greatest(person - person % 1000, 1) else person end,
    case when has_failed then 'E' else 'N' end,
    sent_at,
    sent_at,
    'a:3:{s:4:"NAME";s:' || length('Person ' || person) || ':"Person ' || person || '";s:18:"CRM_ENTITY_TYPE_ID";i:3;s:14:"CRM_CONTACT_ID";s:'
    || length(person::text) || ':"' || person || '";}',
    case when least(opened_at, proxy_opened_at, scanned_at) < '$until' then 'Y' else 'N' end,
    case when least(clicked_at, scanned_at) < '$until' then 'Y' else 'N' end,
    case when left_at < '$until' then 'Y' else 'N' end,
    recipient,
    timestamptz '$at',
    $load_id
from bench.sends
where source = 'bitrix' and sent_at >= '$from' and sent_at < '$until'

-- load raw_bitrix.b_sender_posting_recipient touched_by
update raw_bitrix.b_sender_posting_recipient as recipients
set
    is_read = case when least(sends.opened_at, sends.proxy_opened_at, sends.scanned_at) < '$until' then 'Y' else 'N' end,
    is_click = case when least(sends.clicked_at, sends.scanned_at) < '$until' then 'Y' else 'N' end,
    is_unsub = case when sends.left_at < '$until' then 'Y' else 'N' end,
    _row_hash = recipients._row_hash + 1000000000,
    _loaded_at = timestamptz '$at',
    _load_id = $load_id
from bench.sends
where recipients.id = sends.recipient
    and sends.source = 'bitrix'
    and sends.sent_at >= timestamp '$from' - interval '60 days'
    and sends.sent_at < '$from'
    and (
        (sends.opened_at >= '$from' and sends.opened_at < '$until')
        or (sends.clicked_at >= '$from' and sends.clicked_at < '$until')
        or (sends.left_at >= '$from' and sends.left_at < '$until')
    )

-- load raw_bitrix.b_sender_posting_read append
insert into raw_bitrix.b_sender_posting_read (id, posting_id, recipient_id, date_insert, _row_hash, _loaded_at, _load_id)
select sends.recipient * 4 + opens.kind, sends.letter, sends.recipient, opens.at, sends.recipient * 4 + opens.kind, timestamptz '$at', $load_id
from bench.sends
cross join lateral (
    values (0, sends.opened_at), (1, sends.proxy_opened_at), (2, sends.scanned_at)
) as opens (kind, at)
where sends.source = 'bitrix'
    and sends.sent_at >= $oldest and sends.sent_at < '$until'
    and opens.at >= '$from' and opens.at < '$until'

-- load raw_bitrix.b_sender_posting_click append
insert into raw_bitrix.b_sender_posting_click (
    id, posting_id, recipient_id, date_insert, url, _row_hash, _loaded_at, _load_id
)
select
    sends.recipient * 8 + links.link, sends.letter, sends.recipient, links.at,
    'https://shop.example/l' || sends.letter || '/' || case links.link when 0 then 1 + sends.recipient % 5 else links.link end,
    sends.recipient * 8 + links.link, timestamptz '$at', $load_id
from bench.sends
cross join lateral (
    select 0 as link, sends.clicked_at as at
    union all
    select link, sends.scanned_at + interval '1 second' * (link / 2)
    from generate_series(1, 5) as link
    where sends.scanned_at is not null
) as links
where sends.source = 'bitrix'
    and (sends.clicked_at is not null or sends.scanned_at is not null)
    and sends.sent_at >= $oldest and sends.sent_at < '$until'
    and links.at >= '$from' and links.at < '$until'

-- load raw_bitrix.b_sender_posting_unsub append
insert into raw_bitrix.b_sender_posting_unsub (
    id, posting_id, recipient_id, date_insert, _row_hash, _loaded_at, _load_id
)
select recipient, letter, recipient, left_at, recipient, timestamptz '$at', $load_id
from bench.sends
where source = 'bitrix'
    and sent_at >= $oldest and sent_at < '$until'
    and left_at >= '$from' and left_at < '$until'

-- load raw_bitrix.b_sender_mailing_subscription touched_by
insert into raw_bitrix.b_sender_mailing_subscription (
    mailing_id, contact_id, date_insert, is_unsub, _row_hash, _loaded_at, _load_id
)
select letters.campaign, sends.person, min(sends.left_at), 'Y', min(sends.recipient), timestamptz '$at', $load_id
from bench.sends
inner join bench.letters on sends.letter = letters.letter
where sends.source = 'bitrix'
    and sends.sent_at >= $oldest and sends.sent_at < '$until'
    and sends.left_at >= '$from' and sends.left_at < '$until'
group by letters.campaign, sends.person
on conflict do nothing

-- load raw_bitrix.b_main_mail_blacklist append
insert into raw_bitrix.b_main_mail_blacklist (id, date_insert, category_id, code, _row_hash, _loaded_at, _load_id)
select person, at, 0, email, person, timestamptz '$at', $load_id
from (select *, greatest(created_at, '$start') + interval '10 days' as at from bench.people where is_dead) as dead
where at >= '$from' and at < '$until'

-- load raw_bitrix.b_crm_contact modified
insert into raw_bitrix.b_crm_contact (
    id, date_create, date_modify, name, last_name, full_name, birthdate, has_phone, has_email, opened, type_id,
    _row_hash, _loaded_at, _load_id
)
select
    people.person + cards.card * $people, people.created_at, people.created_at, 'Name' || people.person % 500, 'Family' || people.person,
    'Name' || people.person % 500 || ' Family' || people.person, date '1960-01-01' + (people.person * 37 % 15000)::integer,
    'Y', 'Y', 'Y', 'CLIENT', people.person, timestamptz '$at', $load_id
from bench.people
cross join generate_series(0, 1) as cards (card)
where (cards.card = 0 or people.person % 33 = 0)
    and people.created_at >= '$from' and people.created_at < '$until'

-- load raw_bitrix.b_crm_field_multi touched_by
insert into raw_bitrix.b_crm_field_multi (
    id, entity_id, element_id, type_id, value_type, complex_id, value, _row_hash, _loaded_at, _load_id
)
select
    people.person * 4 + field_values.number, 'CONTACT', people.person + field_values.card * $people, field_values.type, 'WORK',
    field_values.type || '_WORK', field_values.value, people.person, timestamptz '$at', $load_id
from bench.people
cross join lateral (
    values
    (0, 0, 'EMAIL', case when people.person % 50 = 0 then upper(people.email) else people.email end),
    (1, 0, 'PHONE', case when people.person % 3 = 0 then '8 (' || substr(people.phone, 3, 3) || ') ' || substr(people.phone, 6) else people.phone end),
    (2, 1, 'EMAIL', people.email)
) as field_values (number, card, type, value)
where (field_values.card = 0 or people.person % 33 = 0)
    and people.created_at >= '$from' and people.created_at < '$until'
union all
select
    4 * ($people + 1) + leads.lead, 'LEAD', leads.lead, 'EMAIL', 'WORK', 'EMAIL_WORK', people.email, leads.lead, timestamptz '$at', $load_id
from bench.leads
inner join bench.people on leads.person = people.person
where leads.created_at >= '$from' and leads.created_at < '$until'

-- load raw_bitrix.b_user modified
insert into raw_bitrix.b_user (
    id, timestamp_x, login, active, name, last_name, email, date_register, personal_mobile, _row_hash, _loaded_at, _load_id
)
select
    person, created_at, email || person, 'Y', 'Name' || person % 500, 'Family' || person, email, created_at, phone,
    person, timestamptz '$at', $load_id
from bench.people
where created_at >= '$from' and created_at < '$until'

-- load raw_bitrix.b_crm_lead modified
insert into raw_bitrix.b_crm_lead (
    id, date_create, date_modify, contact_id, status_id, status_semantic_id, opportunity, currency_id, opportunity_account,
    account_currency_id, source_id, title, date_closed, webform_id, has_email, moved_time, _row_hash, _loaded_at, _load_id
)
select
    lead, created_at, created_at, person,
    case when closed_at < '$until' then final_status else 'NEW' end,
    case when closed_at < '$until' then case final_status when 'CONVERTED' then 'S' else 'F' end else 'P' end,
    0, 'RUB', 0, 'RUB', 'WEBFORM', 'Lead ' || lead,
    case when closed_at < '$until' then closed_at end, 1, 'Y',
    case when closed_at < '$until' then closed_at else created_at end, lead, timestamptz '$at', $load_id
from bench.leads
where created_at >= '$from' and created_at < '$until'

-- load raw_bitrix.b_crm_lead modified
update raw_bitrix.b_crm_lead as raw_leads
set
    status_id = leads.final_status,
    status_semantic_id = case leads.final_status when 'CONVERTED' then 'S' else 'F' end,
    date_closed = leads.closed_at,
    date_modify = leads.closed_at,
    moved_time = leads.closed_at,
    _row_hash = raw_leads._row_hash + 1000000000,
    _loaded_at = timestamptz '$at',
    _load_id = $load_id
from bench.leads
where raw_leads.id = leads.lead
    and leads.created_at < '$from'
    and leads.closed_at >= '$from' and leads.closed_at < '$until'

-- load raw_bitrix.b_crm_webform_result append
insert into raw_bitrix.b_crm_webform_result (id, date_insert, form_id, origin_id, _row_hash, _loaded_at, _load_id)
select lead, created_at, 1, 'b24form/' || lead, lead, timestamptz '$at', $load_id
from bench.leads
where lead % 2 = 0 and created_at >= '$from' and created_at < '$until'

-- load raw_bitrix.b_crm_webform_result_entity append
insert into raw_bitrix.b_crm_webform_result_entity (
    form_id, result_id, entity_name, item_id, _row_hash, _loaded_at, _load_id
)
select 1, lead, 'LEAD', lead, lead, timestamptz '$at', $load_id
from bench.leads
where lead % 2 = 0 and created_at >= '$from' and created_at < '$until'

-- load raw_bitrix.b_crm_act modified
insert into raw_bitrix.b_crm_act (
    id, type_id, provider_id, owner_id, owner_type_id, subject, completed, direction, created, last_updated,
    _row_hash, _loaded_at, _load_id
)
select
    lead, 2, 'VOXIMPLANT_CALL', lead, 1, 'A call', 'Y', 1, created_at + interval '1 hour', created_at + interval '1 hour',
    lead, timestamptz '$at', $load_id
from bench.leads
where lead % 4 = 1 and created_at >= '$from' and created_at < '$until'

-- load raw_bitrix.b_crm_act_bind touched_by
insert into raw_bitrix.b_crm_act_bind (id, activity_id, owner_id, owner_type_id, _row_hash, _loaded_at, _load_id)
select lead, lead, lead, 1, lead, timestamptz '$at', $load_id
from bench.leads
where lead % 4 = 1 and created_at >= '$from' and created_at < '$until'

-- load raw_bitrix.b_crm_utm touched_by
insert into raw_bitrix.b_crm_utm (entity_type_id, entity_id, code, value, _row_hash, _loaded_at, _load_id)
select 1, leads.lead, tags.code, tags.value, leads.lead, timestamptz '$at', $load_id
from bench.leads
inner join bench.letters on leads.letter = letters.letter
cross join lateral (
    values
    ('UTM_SOURCE', case when letters.source = 'bitrix' then 'sender' else letters.source end),
    ('UTM_MEDIUM', 'email'),
    ('UTM_CAMPAIGN', 'c' || letters.campaign),
    ('UTM_CONTENT', 'letter_' || leads.letter)
) as tags (code, value)
where leads.is_caused and leads.created_at >= '$from' and leads.created_at < '$until'

-- load raw_bitrix.b_crm_deal modified
insert into raw_bitrix.b_crm_deal (
    id, date_create, date_modify, lead_id, contact_id, title, category_id, stage_id, stage_semantic_id, is_recurring,
    closed, opportunity, currency_id, opportunity_account, account_currency_id, begindate, closedate, moved_time,
    _row_hash, _loaded_at, _load_id
)
select
    deal, created_at, created_at, lead, person, 'Deal ' || deal, 0,
    case when closed_at < '$until' then final_stage else 'NEW' end,
    case when closed_at < '$until' then case final_stage when 'WON' then 'S' else 'F' end else 'P' end,
    'N',
    case when closed_at < '$until' then 'Y' else 'N' end,
    amount, currency, amount * case currency when 'USD' then 90 when 'EUR' then 100 else 1 end, 'RUB',
    created_at::date, coalesce(closed_at, created_at + interval '30 days')::date,
    case when closed_at < '$until' then closed_at else created_at end, deal, timestamptz '$at', $load_id
from bench.deals
where created_at >= '$from' and created_at < '$until'

-- load raw_bitrix.b_crm_deal modified
update raw_bitrix.b_crm_deal as raw_deals
set
    stage_id = case when deals.closed_at < '$until' then deals.final_stage else 'NEW' end,
    stage_semantic_id = case
        when deals.closed_at < '$until' then case deals.final_stage when 'WON' then 'S' else 'F' end
        else 'P'
    end,
    closed = case when deals.closed_at < '$until' then 'Y' else 'N' end,
    closedate = coalesce(deals.closed_at, deals.created_at + interval '30 days')::date,
    moved_time = case when deals.closed_at < '$until' then deals.closed_at else deals.created_at end,
    date_modify = timestamp '$until' - interval '1 hour',
    -- somebody corrects the sum of a few old ones every day
    opportunity = raw_deals.opportunity + case when deals.deal % 5000 = $day then 100 else 0 end,
    opportunity_account = raw_deals.opportunity_account + case when deals.deal % 5000 = $day then 100 else 0 end,
    _row_hash = raw_deals._row_hash + 1000000000,
    _loaded_at = timestamptz '$at',
    _load_id = $load_id
from bench.deals
where raw_deals.id = deals.deal
    and deals.created_at < '$from'
    and ((deals.closed_at >= '$from' and deals.closed_at < '$until') or deals.deal % 5000 = $day)

-- load raw_bitrix.b_crm_deal_contact touched_by
insert into raw_bitrix.b_crm_deal_contact (
    deal_id, contact_id, sort, role_id, is_primary, _row_hash, _loaded_at, _load_id
)
select deal, person, 10, 0, 'Y', deal, timestamptz '$at', $load_id
from bench.deals
where created_at >= '$from' and created_at < '$until'

-- load raw_bitrix.b_crm_deal_stage_history append
insert into raw_bitrix.b_crm_deal_stage_history (
    id, type_id, owner_id, created_time, created_date, effective_date, category_id, stage_semantic_id, stage_id, is_lost,
    _row_hash, _loaded_at, _load_id
)
select
    deals.deal * 4 + moves.place, moves.type, deals.deal, moves.at, moves.at::date, moves.at::date, 0, moves.semantic, moves.stage,
    case when moves.type = 4 then 'Y' else 'N' end, deals.deal * 4 + moves.place, timestamptz '$at', $load_id
from bench.deals
cross join lateral (
    values
    (0, 1, deals.created_at, 'P', 'NEW'),
    (1, 2, deals.created_at + (deals.closed_at - deals.created_at) / 2, 'P', 'EXECUTING'),
    (
        2, case deals.final_stage when 'WON' then 3 else 4 end, deals.closed_at,
        case deals.final_stage when 'WON' then 'S' else 'F' end, deals.final_stage
    )
) as moves (place, type, at, semantic, stage)
where moves.at >= '$from' and moves.at < '$until'

-- load raw_bitrix.b_sale_fuser modified
insert into raw_bitrix.b_sale_fuser (id, date_insert, date_update, user_id, _row_hash, _loaded_at, _load_id)
select person, created_at, created_at, person, person, timestamptz '$at', $load_id
from bench.people
where created_at >= '$from' and created_at < '$until'

-- load raw_bitrix.b_sale_order modified
insert into raw_bitrix.b_sale_order (
    id, lid, person_type_id, payed, date_payed, canceled, date_canceled, status_id, date_status, price, currency, sum_paid,
    user_id, date_insert, date_update, account_number, _row_hash, _loaded_at, _load_id
)
select
    "order", 's1', 1,
    case when paid_at < '$until' then 'Y' else 'N' end,
    case when paid_at < '$until' then paid_at end,
    case when canceled_at < '$until' then 'Y' else 'N' end,
    case when canceled_at < '$until' then canceled_at end,
    case when paid_at < '$until' then 'F' else 'N' end,
    created_at, amount, 'RUB', case when paid_at < '$until' then amount else 0 end, person, created_at, created_at,
    "order"::text, "order", timestamptz '$at', $load_id
from bench.orders
where created_at >= '$from' and created_at < '$until'

-- load raw_bitrix.b_sale_order modified
update raw_bitrix.b_sale_order as raw_orders
set
    payed = case when orders.paid_at < '$until' then 'Y' else 'N' end,
    date_payed = case when orders.paid_at < '$until' then orders.paid_at end,
    sum_paid = case when orders.paid_at < '$until' then orders.amount else 0 end,
    canceled = case when orders.canceled_at < '$until' then 'Y' else 'N' end,
    date_canceled = case when orders.canceled_at < '$until' then orders.canceled_at end,
    date_update = coalesce(orders.paid_at, orders.canceled_at),
    _row_hash = raw_orders._row_hash + 1000000000,
    _loaded_at = timestamptz '$at',
    _load_id = $load_id
from bench.orders
where raw_orders.id = orders."order"
    and orders.created_at < '$from'
    and coalesce(orders.paid_at, orders.canceled_at) >= '$from'
    and coalesce(orders.paid_at, orders.canceled_at) < '$until'

-- load raw_bitrix.b_sale_order_payment touched_by
insert into raw_bitrix.b_sale_order_payment (
    id, order_id, account_number, paid, date_paid, pay_system_id, sum, currency, is_return, _row_hash, _loaded_at, _load_id
)
select
    "order", "order", "order" || '/1', 'Y', paid_at, 1, amount, 'RUB', 'N', "order", timestamptz '$at', $load_id
from bench.orders
where paid_at >= '$from' and paid_at < '$until'

-- load raw_bitrix.b_sale_basket modified
insert into raw_bitrix.b_sale_basket (
    id, fuser_id, order_id, product_id, price, currency, date_insert, date_update, quantity, delay, name, lid, module,
    _row_hash, _loaded_at, _load_id
)
select
    "order", person, "order", 1 + "order" % 57, amount, 'RUB', created_at, created_at, 1, 'N', 'Goods', 's1', 'catalog',
    "order", timestamptz '$at', $load_id
from bench.orders
where created_at >= '$from' and created_at < '$until'

-- load raw_bitrix.b_conv_context append
insert into raw_bitrix.b_conv_context (id, snapshot, _row_hash, _loaded_at, _load_id)
select letter, md5(letter::text) || md5(letter::text), letter, timestamptz '$at', $load_id
from bench.letters
where source = 'bitrix' and sent_at >= '$from' and sent_at < '$until'

-- load raw_bitrix.b_conv_context_attribute append
insert into raw_bitrix.b_conv_context_attribute (context_id, name, value, _row_hash, _loaded_at, _load_id)
select letter, 'sender_chain_source', letter::text, letter, timestamptz '$at', $load_id
from bench.letters
where source = 'bitrix' and sent_at >= '$from' and sent_at < '$until'

-- load raw_bitrix.b_conv_context_entity_item append
insert into raw_bitrix.b_conv_context_entity_item (entity, item, context_id, _row_hash, _loaded_at, _load_id)
select 'sale_order', "order"::text, letter, "order", timestamptz '$at', $load_id
from bench.orders
where source = 'bitrix' and "order" % 3 = 0 and created_at >= '$from' and created_at < '$until'

-- load raw_bitrix.b_crm_tracking_trace append
insert into raw_bitrix.b_crm_tracking_trace (
    id, date_create, source_id, is_mobile, has_child, tags_raw__json, pages_raw__json, _row_hash, _loaded_at, _load_id
)
select
    visits.visit,
    visits.created_at,
    0,
    'N',
    'N',
    jsonb_build_object('ts', extract(epoch from visits.created_at)::bigint - 600, 'list', visits.tags),
    jsonb_build_array(
        jsonb_build_object('URL', visits.url, 'DATE_INSERT', extract(epoch from visits.created_at)::bigint - 600),
        jsonb_build_object('URL', 'https://shop.example/contacts', 'DATE_INSERT', extract(epoch from visits.created_at)::bigint - 60)
    ),
    visits.visit,
    timestamptz '$at',
    $load_id
from (
    select
        entities.visit,
        entities.created_at,
        case
            when entities.is_email
                then jsonb_build_object(
                    'utm_source', case when entities.source = 'bitrix' then 'sender' else entities.source end,
                    'utm_medium', 'email', 'utm_campaign', 'c' || 1 + entities.letter % 20,
                    'utm_content', 'letter_' || entities.letter
                )
            when entities.visit % 3 = 0
                then '{"utm_source": "yandex", "utm_medium": "cpc", "utm_campaign": "brand"}'
            else '{}'
        end as tags,
        'https://shop.example/l' || entities.letter || '/1?' || case
            when entities.is_email and entities.source = 'bitrix'
                then 'utm_source=sender&utm_medium=email&utm_content=letter_' || entities.letter || '&bx_sender_conversion_id='
                    || entities.recipient
            when entities.is_email
                then 'utm_source=' || entities.source || '&utm_medium=email&utm_content=letter_' || entities.letter
            when entities.visit % 3 = 0
                then 'utm_source=yandex&utm_medium=cpc&utm_campaign=brand'
            else ''
        end as url
    from (
        select lead as visit, created_at, letter, source, recipient, is_caused as is_email from bench.leads
        union all
        select $leads + "order", created_at, letter, source, recipient, "order" % 4 < 3 from bench.orders
    ) as entities
    where entities.created_at >= '$from' and entities.created_at < '$until'
) as visits

-- load raw_bitrix.b_crm_tracking_trace_entity append
insert into raw_bitrix.b_crm_tracking_trace_entity (
    id, trace_id, entity_type_id, entity_id, _row_hash, _loaded_at, _load_id
)
select lead, lead, 1, lead, lead, timestamptz '$at', $load_id
from bench.leads
where created_at >= '$from' and created_at < '$until'
union all
select $leads + "order", $leads + "order", 14, "order", "order", timestamptz '$at', $load_id
from bench.orders
where created_at >= '$from' and created_at < '$until'
union all
select $leads + $orders + deal, lead, 2, deal, deal, timestamptz '$at', $load_id
from bench.deals
where lead is not null and created_at >= '$from' and created_at < '$until'

-- load raw_esp.campaigns poll
insert into raw_esp.campaigns (
    esp, account, external_id, list_id, title, subject, status, sent_at, emails_sent, utm_campaign, payload,
    _row_hash, _loaded_at, _load_id
)
select
    source, 'main', letter::text, 'list', 'Letter ' || letter, 'News ' || letter, 'sent', sent_at at time zone '$zone', $people / $stride,
    'c' || campaign, '{}', letter, timestamptz '$at', $load_id
from bench.letters
where source <> 'bitrix' and sent_at >= '$from' and sent_at < '$until'

-- load raw_esp.contacts poll
insert into raw_esp.contacts (
    esp, account, external_id, list_id, email, status, opted_in_at, changed_at, payload, _row_hash, _loaded_at, _load_id
)
select
    esps.esp, 'main', 'list:' || md5(people.email), 'list', people.email, 'subscribed', min(people.created_at) at time zone '$zone',
    min(people.created_at) at time zone '$zone', '{}', min(people.person), timestamptz '$at', $load_id
from bench.people
cross join (values ('mailchimp'), ('esputnik'), ('unisender')) as esps (esp)
where people.created_at >= '$from' and people.created_at < '$until'
group by esps.esp, people.email
on conflict do nothing

-- load raw_esp.events poll
insert into raw_esp.events (
    esp, account, external_id, campaign_id, email, event_type, bounce_kind, occurred_at, url, is_proxy, payload,
    _row_hash, _loaded_at, _load_id
)
select
    sends.source, 'main', md5(events.kind || ':' || sends.recipient), sends.letter::text, people.email, events.type,
    case events.type when 'bounced' then case when people.is_dead then 'hard' else 'soft' end end,
    events.at at time zone '$zone',
    case when events.type = 'clicked' then 'https://shop.example/l' || sends.letter || '/' || 1 + (sends.recipient + events.kind) % 5 end,
    case when sends.source = 'mailchimp' and events.type = 'opened' then events.kind = 3 end,
    '{"action": "as told"}', sends.recipient * 16 + events.kind, timestamptz '$at', $load_id
from bench.sends
inner join bench.people on sends.person = people.person
cross join lateral (
    select 0 as kind, 'sent' as type, sends.sent_at as at
    union all
    select 1, 'bounced', case when sends.has_failed then sends.sent_at + interval '1 minute' end
    union all
    select 2, 'opened', sends.opened_at
    union all
    select 3, 'opened', sends.proxy_opened_at
    union all
    select 4, 'opened', sends.scanned_at
    union all
    select 5, 'clicked', sends.clicked_at
    union all
    select 6, 'unsubscribed', sends.left_at
    union all
    select 6 + link, 'clicked', sends.scanned_at + interval '1 second' * (link / 2)
    from generate_series(1, 5) as link
    where sends.scanned_at is not null
) as events
where sends.source <> 'bitrix'
    and sends.sent_at >= $oldest and sends.sent_at < '$until'
    and events.at >= '$from' and events.at < '$until'
