"""Campaigns, letters and their contents in the sample site (bitrix.md 1.2)."""

from __future__ import annotations

import html
from urllib.parse import quote, urlencode

import numpy as np
import pandas as pd

from lettertrail.sandbox.bitrix_rows import Writer, encode_emoji, local, yes_no
from lettertrail.sandbox.world import World
from lettertrail.sandbox.world_letters import CAMPAIGN_NAMES, REPEATED_LETTER, WELCOME, WELCOME_LETTERS
from lettertrail.sandbox.world_letters import WELCOME_SHIFT_MINUTES as SHIFTS

MESSAGE_OFFSET = 100
"""`b_sender_message.ID` = letter + this; the chain row keeps it as text."""
FROM = "Магазин <news@shop.example>"
UTM_CODES = ("utm_source", "utm_medium", "utm_campaign", "utm_content")
SEGMENTS = ("Все клиенты CRM", "Покупатели за год", "Импорт с выставки", "Сотрудники")


def write_letters(writer: Writer, world: World, postings: pd.DataFrame) -> None:
    """Writes campaigns, letters, messages with fields and UTM tags, and the segments they go to."""
    letters = world.letters[world.letters["channel"] == "bitrix"].reset_index(drop=True)
    _write_campaigns(writer, world)
    _write_chain(writer, letters, postings)
    _write_messages(writer, letters)
    _write_segments(writer, letters, world)


def _write_campaigns(writer: Writer, world: World) -> None:
    campaigns = sorted(CAMPAIGN_NAMES)
    writer.write(
        "b_sender_mailing",
        {
            "ID": campaigns,
            "DATE_INSERT": np.repeat(local(pd.Series([world.started_at - pd.Timedelta(days=900)])), len(campaigns)),
            "NAME": [CAMPAIGN_NAMES[campaign] for campaign in campaigns],
            "DESCRIPTION": "",
            "SITE_ID": "s1",
            "TRACK_CLICK": "Y",
            "EMAIL_FROM": FROM,
            "IS_TRIGGER": yes_no([campaign == WELCOME for campaign in campaigns]),
        },
    )


def _write_chain(writer: Writer, letters: pd.DataFrame, postings: pd.DataFrame) -> None:
    number = letters["letter"].to_numpy()
    last = postings.groupby("MAILING_CHAIN_ID")["ID"].max().reindex(number)
    sending = postings.groupby("MAILING_CHAIN_ID")["COUNT_SEND_NONE"].sum().reindex(number).to_numpy() > 0
    sent_at = local(letters["sent_at"])
    welcome = number <= WELCOME_LETTERS
    writer.write(
        "b_sender_mailing_chain",
        {
            "ID": number,
            "MAILING_ID": letters["campaign"].to_numpy(np.int64),
            "STATUS": np.where(sending | welcome, "S", "Y"),
            "POSTING_ID": last.to_numpy(np.int64),
            "CREATED_BY": 2,
            "UPDATED_BY": 2,
            "PARENT_ID": [letter - 1 if 1 < letter <= WELCOME_LETTERS else None for letter in number.tolist()],
            "MESSAGE_CODE": "mail",
            "MESSAGE_ID": [str(letter + MESSAGE_OFFSET) for letter in number.tolist()],
            "IS_TRIGGER": yes_no(welcome),
            "DATE_INSERT": sent_at - np.timedelta64(2, "D"),
            "DATE_UPDATE": sent_at - np.timedelta64(1, "h"),
            "TIME_SHIFT": [SHIFTS[letter - 1] if letter <= WELCOME_LETTERS else 0 for letter in number.tolist()],
            "LAST_EXECUTED": sent_at,
            "AUTO_SEND_TIME": sent_at,
            "TITLE": [encode_emoji(title) for title in letters["title"]],
            "REITERATE": yes_no(number == REPEATED_LETTER),
        },
    )


def _write_messages(writer: Writer, letters: pd.DataFrame) -> None:
    message = letters["letter"].to_numpy() + MESSAGE_OFFSET
    writer.write("b_sender_message", {"ID": message, "CODE": "mail"})
    fields: list[tuple[int, str, str, str | None]] = []
    tags: list[tuple[int, str, str]] = []
    for number, row in zip(message.tolist(), letters.to_dict("records"), strict=True):
        own = [(code, str(row[code])) for code in UTM_CODES if isinstance(row[code], str)]
        tags += [(number, code, value) for code, value in own]
        fields += [
            (number, "SUBJECT", "string", encode_emoji(str(row["subject"]))),
            (number, "EMAIL_FROM", "email", FROM),
            (number, "MESSAGE", "mail-editor", _body(str(row["subject"]), row["urls"])),
            (number, "PRIORITY", "list", "3 (Normal)"),
            (number, "LINK_PARAMS", "string", urlencode(own, quote_via=quote)),
            (number, "ATTACHMENT", "file", None),
            (number, "TRACK_MAIL", "checkbox", "Y"),
            (number, "APPROVE_CONFIRMATION", "checkbox", "N"),
            (number, "TEMPLATE_TYPE", "template-type", "BASE"),
            (number, "TEMPLATE_ID", "template-id", "1column1"),
            (number, "SUBJECT_PERSONALIZE", "string", '{"NAME": "клиент"}' if "#" in str(row["subject"]) else None),
        ]
    for table, names, rows in (
        ("b_sender_message_field", ("MESSAGE_ID", "CODE", "TYPE", "VALUE"), fields),
        ("b_sender_message_utm", ("MESSAGE_ID", "CODE", "VALUE"), tags),
    ):
        writer.write(table, dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


def _body(subject: str, urls: list[str]) -> str:
    links = "\n".join(f'<p><a href="{html.escape(url)}">Подробнее {place}</a></p>' for place, url in enumerate(urls, 1))
    return encode_emoji(
        f"<html><body>\n<h1>{html.escape(subject)}</h1>\n<p>Здравствуйте, #NAME#!</p>\n{links}\n"
        '<p><a href="#UNSUBSCRIBE_LINK#">Отписаться</a></p>\n</body></html>'
    )


def _write_segments(writer: Writer, letters: pd.DataFrame, world: World) -> None:
    ids = list(range(1, len(SEGMENTS) + 1))
    began = np.repeat(local(pd.Series([world.started_at])), len(ids))
    writer.write(
        "b_sender_group",
        {
            "ID": ids,
            "CODE": [f"segment_{number}" for number in ids],
            "NAME": list(SEGMENTS),
            "DATE_INSERT": began,
            "DATE_UPDATE": began,
            "STATUS": "D",
        },
    )
    number = letters["letter"].tolist()
    writer.write(
        "b_sender_mailing_chain_group",
        {
            "CHAIN_ID": number + number,
            "GROUP_ID": [1 if letter % 3 else 2 for letter in number] + [4] * len(number),
            "INCLUDE": [1] * len(number) + [0] * len(number),
        },
    )
