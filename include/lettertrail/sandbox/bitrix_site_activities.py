"""Calls, e-mails, forms and to-dos of the sample site, and the timeline of its cards (bitrix.md 2.9)."""

from __future__ import annotations

from typing import Any

import numpy as np

from lettertrail.sandbox import php
from lettertrail.sandbox.bitrix_refusals import EMPLOYEES
from lettertrail.sandbox.bitrix_rows import ZERO_DATETIME, Writer, by_column, local
from lettertrail.sandbox.bitrix_site_sender import SenderFrames
from lettertrail.sandbox.world import World

LEAD, DEAL, CONTACT = 1, 2, 3
MEETING, CALL, EMAIL, PROVIDER = 1, 2, 4, 6
INCOMING, OUTGOING = 1, 2
NO_DEADLINE = "9999-12-31 00:00:00"
TIMELINE_POSTINGS = 1
"""The sender module has written to the timeline since its last update, just before the last letter."""
SENDER_RECORD = 11

_SECOND = np.timedelta64(1, "s")
_ACTIVITY = (
    "ID TYPE_ID PROVIDER_ID PROVIDER_TYPE_ID OWNER_ID OWNER_TYPE_ID SUBJECT COMPLETED RESPONSIBLE_ID PRIORITY "
    "NOTIFY_TYPE DIRECTION CREATED LAST_UPDATED START_TIME END_TIME DEADLINE PARENT_ID THREAD_ID SETTINGS "
    "PROVIDER_PARAMS DESCRIPTION ORIGIN_ID RESULT_SUM RESULT_CURRENCY_ID"
)

Row = dict[str, Any]


def write_activities(writer: Writer, world: World, frames: SenderFrames) -> None:
    """Writes the activities with their bindings and addresses, then the timeline."""
    rows = [*_of_leads(world), *_of_deals(world)]
    rows.sort(key=lambda row: (row["CREATED"], row["OWNER_TYPE_ID"], row["OWNER_ID"], row["TYPE_ID"]))
    for number, row in enumerate(rows, start=1):
        row["ID"] = number
        row["THREAD_ID"] = number if row["TYPE_ID"] == EMAIL else 0
        row["PARENT_ID"] = 0
    _answer(rows)
    _spoil(rows)
    timeline = list(rows)
    for number, row in enumerate(_calls_in(world), start=len(rows) + 1):
        rows.append({**row, "ID": number, "THREAD_ID": 0, "PARENT_ID": 0})
    names = _ACTIVITY.split()
    writer.write("b_crm_act", by_column(_ACTIVITY, [[row.get(name) for name in names] for row in rows]))
    binds = [(row["ID"], row["OWNER_ID"], row["OWNER_TYPE_ID"]) for row in rows]
    binds += [(row["ID"], row["contact"], CONTACT) for row in rows if row["contact"]]
    writer.write("b_crm_act_bind", by_column("ACTIVITY_ID OWNER_ID OWNER_TYPE_ID", binds))
    comms = [
        (row["ID"], row["OWNER_ID"], row["OWNER_TYPE_ID"], row["channel"], row["address"],
         row["contact"], CONTACT if row["contact"] else 0, php.serialize({"HONORIFIC": "", "NAME": row["name"]}))
        for row in rows
        if row["channel"]
    ]  # fmt: skip
    writer.write(
        "b_crm_act_comm",
        by_column("ACTIVITY_ID OWNER_ID OWNER_TYPE_ID TYPE VALUE ENTITY_ID ENTITY_TYPE_ID ENTITY_SETTINGS", comms),
    )
    last = {(row["OWNER_TYPE_ID"], row["OWNER_ID"]): row for row in rows if row["TYPE_ID"] in (CALL, EMAIL)}
    writer.write(
        "b_crm_last_communication",
        by_column(
            "ENTITY_TYPE_ID ENTITY_ID LAST_COMMUNICATION_TIME TYPE ACTIVITY_ID",
            [
                (*owner, row["CREATED"], "call" if row["TYPE_ID"] == CALL else "email", row["ID"])
                for owner, row in last.items()
            ],
        ),
    )
    _write_timeline(writer, world, frames, timeline)


def _of_leads(world: World) -> list[Row]:
    """The form that made each lead, and a call to every third."""
    leads = world.leads.merge(world.people, on="person", suffixes=("", "_person")).sort_values("lead")
    rows: list[Row] = []
    for lead, name, email, phone, at in zip(
        leads["lead"].tolist(), leads["first_name"], leads["email_as_typed"], leads["phone"],
        local(leads["created_at"]), strict=True,
    ):  # fmt: skip
        who = {"OWNER_ID": lead, "OWNER_TYPE_ID": LEAD, "contact": 0, "name": name}
        form = {"FORM": {"IP": "203.0.113.9", "LINK": "https://shop.example/contacts"}, "FIELDS": {"Имя": name}}
        rows.append(
            _row(who, PROVIDER, "CRM_WEBFORM", at, SUBJECT="Заполнена форма «Вопрос»", DIRECTION=INCOMING,
                 PROVIDER_TYPE_ID="1", PROVIDER_PARAMS=php.serialize(form), channel="EMAIL", address=email)
        )  # fmt: skip
        if lead % 3 == 0:
            call = {"DURATION": 30 + lead % 400, "IS_MISSED": lead % 2 == 0, "CALL_ID": None, "RATE": 0.5}
            rows.append(
                _row(who, CALL, "VOXIMPLANT_CALL", at + 3600 * _SECOND, SUBJECT=f"Исходящий на {phone}",
                     DIRECTION=OUTGOING, SETTINGS=php.serialize(call), ORIGIN_ID=f"VI_call.{lead}",
                     channel="PHONE", address=phone)
            )  # fmt: skip
    return rows


def _calls_in(world: World) -> list[Row]:
    """Every fifth lead rings up itself, an hour and a half after it left its number; these calls are on no timeline."""
    leads = world.leads[world.leads["lead"] % 5 == 0].merge(world.people, on="person", suffixes=("", "_person"))
    rows: list[Row] = []
    for lead, name, phone, at in zip(
        leads["lead"].tolist(), leads["first_name"], leads["phone"], local(leads["created_at"]), strict=True
    ):
        who = {"OWNER_ID": lead, "OWNER_TYPE_ID": LEAD, "contact": 0, "name": name}
        rows.append(
            _row(who, CALL, "VOXIMPLANT_CALL", at + 5400 * _SECOND, SUBJECT=f"Входящий от {phone}",
                 DIRECTION=INCOMING, SETTINGS=php.serialize({"DURATION": 60 + lead % 300}),
                 ORIGIN_ID=f"VI_call.in.{lead}", channel="PHONE", address=phone)
        )  # fmt: skip
    return sorted(rows, key=lambda row: (row["CREATED"], row["OWNER_ID"]))


def _of_deals(world: World) -> list[Row]:
    """An e-mail about every second deal, with an answer to some; a to-do in each that is open; few meetings."""
    deals = world.deals.merge(world.people, on="person", suffixes=("", "_person")).sort_values("deal")
    rows: list[Row] = []
    for deal, person, stage, name, email, at, amount in zip(
        deals["deal"].tolist(), deals["person"].tolist(), deals["stage"], deals["first_name"], deals["email_as_typed"],
        local(deals["created_at"]), deals["amount_base"], strict=True,
    ):  # fmt: skip
        who = {"OWNER_ID": deal, "OWNER_TYPE_ID": DEAL, "contact": person, "name": name}
        mail = {"channel": "EMAIL", "address": email}
        meta = {"EMAIL_META": {"from": "Магазин <news@shop.example>", "to": email, "cc": "", "__email": None}}
        if deal % 2 == 0:
            rows.append(
                _row(who, EMAIL, "CRM_EMAIL", at + 7200 * _SECOND, SUBJECT="Ваше предложение &quot;под ключ&quot;",
                     DIRECTION=OUTGOING, DESCRIPTION="<div>Здравствуйте!<br>Счёт во&nbsp;вложении.</div>",
                     SETTINGS=php.serialize(meta), **mail)
            )  # fmt: skip
        if deal % 6 == 0:
            rows.append(
                _row(who, EMAIL, "CRM_EMAIL", at + 14_400 * _SECOND, SUBJECT="Re: Ваше предложение 👍",
                     DIRECTION=INCOMING, SETTINGS=php.serialize(meta), **mail)
            )  # fmt: skip
        if stage == "open":
            rows.append(
                _row(who, PROVIDER, "CRM_TODO", at + 86_400 * _SECOND, SUBJECT="Перезвонить", COMPLETED="N",
                     DEADLINE=at + 5 * 86_400 * _SECOND if deal % 2 else NO_DEADLINE, SETTINGS=php.serialize([]))
            )  # fmt: skip
        if deal % 9 == 0:
            rows.append(
                _row(who, MEETING, "CRM_MEETING", at + 172_800 * _SECOND, SUBJECT="Встреча",
                     START_TIME=at + 172_800 * _SECOND, END_TIME=ZERO_DATETIME, SETTINGS="",
                     RESULT_SUM=amount, RESULT_CURRENCY_ID="RUB")
            )  # fmt: skip
    return rows


def _row(who: Row, kind: int, provider: str, at: np.datetime64, **more: Any) -> Row:
    return {
        "TYPE_ID": kind,
        "PROVIDER_ID": provider,
        "COMPLETED": "Y",
        "RESPONSIBLE_ID": 2 + who["OWNER_ID"] % len(EMPLOYEES),
        "PRIORITY": 2,
        "NOTIFY_TYPE": 0,
        "DIRECTION": 0,
        "CREATED": at,
        "LAST_UPDATED": at + 60 * _SECOND,
        "channel": None,
        "address": None,
        **who,
        **more,
    }


def _answer(rows: list[Row]) -> None:
    """An incoming letter hangs below the outgoing one of the same deal."""
    sent = {row["OWNER_ID"]: row["ID"] for row in rows if row["TYPE_ID"] == EMAIL and row["DIRECTION"] == OUTGOING}
    for row in rows:
        if row["TYPE_ID"] == EMAIL and row["DIRECTION"] == INCOMING:
            row["PARENT_ID"] = row["THREAD_ID"] = sent[row["OWNER_ID"]]


def _spoil(rows: list[Row]) -> None:
    """Settings as old modules left them: objects with hidden properties, a value cut off, text of another charset."""
    calls = [row for row in rows if row["TYPE_ID"] == CALL]
    when = php.PhpObject(
        "Bitrix\\Main\\Type\\DateTime",
        {
            php.protected("value"): php.PhpObject(
                "DateTime",
                {"date": "2026-01-02 03:04:05.000000", "timezone_type": 3, "timezone": "Europe/Moscow"},
            ),
            php.private("Bitrix\\Main\\Type\\DateTime", "пояс"): 10_800,
        },
    )
    odd = (
        php.serialize({"START": when, "DURATION": 61}),
        php.serialize({"COMMENT": "обрыв на середине слова", "DURATION": 62})[:40],
        'a:1:{s:7:"COMMENT";s:6:"Привет";}',  # six bytes in cp1251, twelve now: converted without counting again
    )
    for row, settings in zip(calls, odd, strict=False):
        row["SETTINGS"] = settings


def _write_timeline(writer: Writer, world: World, frames: SenderFrames, activities: list[Row]) -> None:
    names = "TYPE_ID TYPE_CATEGORY_ID CREATED AUTHOR_ID ASSOCIATED_ENTITY_ID ASSOCIATED_ENTITY_TYPE_ID COMMENT SETTINGS"
    rows: list[tuple[Any, ...]] = [
        (1, 2, row["CREATED"], 1, row["ID"], 6, None, php.serialize({}), (row["OWNER_ID"], row["OWNER_TYPE_ID"]))
        for row in activities
        if row["TYPE_ID"] in (CALL, MEETING)
    ]
    deals = world.deals[world.deals["deal"] % 8 == 0]
    for deal, at in zip(deals["deal"].tolist(), local(deals["created_at"]), strict=True):
        text = "[B]Важно[/B]: клиент ждёт [URL=https://shop.example/?a=1&b=2]ответа[/URL] 🔥"
        rows.append((7, None, at + 900 * _SECOND, 2, None, None, text, None, (deal, DEAL)))
    rows += _sender_records(frames)
    rows.sort(key=lambda row: (row[2], row[0], row[-1]))
    numbers = np.arange(1, len(rows) + 1)
    writer.write("b_crm_timeline", {"ID": numbers, **by_column(names, [row[:-1] for row in rows])})
    binds = [(number, *row[-1], "N") for number, row in zip(numbers.tolist(), rows, strict=True)]
    writer.write("b_crm_timeline_bind", by_column("OWNER_ID ENTITY_ID ENTITY_TYPE_ID IS_FIXED", binds))


def _sender_records(frames: SenderFrames) -> list[tuple[Any, ...]]:
    """One record per CRM recipient of the last letters, bound to the card its FIELDS name."""
    last = frames.postings.tail(TIMELINE_POSTINGS)
    letter_of = dict(zip(last["ID"].tolist(), last["MAILING_CHAIN_ID"].tolist(), strict=True))
    sent = frames.recipients[frames.recipients["POSTING_ID"].isin(letter_of) & (frames.recipients["STATUS"] == "N")]
    card = sent["FIELDS"].str.extract(r'"CRM_CONTACT_ID";s:\d+:"(\d+)"', expand=False)
    sent = sent.assign(card=card)[card.notna()]
    codes = frames.contacts["CODE"].to_numpy(object)
    return [
        (
            SENDER_RECORD, None, at, 0, None, None, None,
            php.serialize(
                {
                    "letterId": letter_of[posting],
                    "recipient": {"id": recipient, "contactTypeId": 1, "contactCode": codes[contact - 1]},
                }
            ),
            (int(owner), CONTACT),
        )
        for recipient, posting, contact, owner, at in zip(
            sent["ID"].tolist(), sent["POSTING_ID"].tolist(), sent["CONTACT_ID"].tolist(), sent["card"],
            sent["DATE_SENT"].to_numpy("datetime64[s]"), strict=True,
        )
    ]  # fmt: skip
