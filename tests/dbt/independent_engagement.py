"""The engagement marts once more, in plain Python: one pass over the messages of `independent.mail`, no joins."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from typing import Any

import psycopg
from tests.dbt.independent import Act, Mail, Message

Counts = dict[str, int]
Groups = dict[tuple[Any, ...], Counts]


def outcomes(mail: Mail) -> Iterator[tuple[object, Message, Counts]]:
    """Every message with what became of it, as 0 and 1."""
    opened, clicked = _verdicts(mail.opens), _verdicts(mail.clicks)
    left = {key for key, _ in mail.departures["unsubscribed"]}
    complained = {key for key, _ in mail.departures["complained"]}
    for key, message in mail.messages.items():
        counts = {
            "attempted_count": 1,
            "sent_count": int(message.sent),
            "delivered_count": int(message.delivered),
            "bounced_count": int(message.bounced),
            "unsubscribed_count": int(message.delivered and key in left),
            "complained_count": int(message.delivered and key in complained),
        }
        for name, found in (("opened", opened), ("clicked", clicked)):
            verdict = found.get(key) if message.delivered else None
            counts[f"{name}_count"] = int(verdict is not None)
            for word in ("human", "doubtful", "machine"):
                counts[f"{name}_{word}_count"] = int(verdict == word)
        yield key, message, counts


def by_domain(mail: Mail) -> Groups:
    """mart_deliverability: by day of sending, source and domain."""
    return _grouped(
        mail,
        lambda key, message: [(_day(message), source_of(key), message.crowd[1] or "unknown")] if _day(message) else [],
    )


def by_quarter(mail: Mail, sent_on: Mapping[str, date | None]) -> Groups:
    """mart_esp_comparison: by source and quarter."""
    return _grouped(mail, lambda key, message: [(source_of(key), q) for q in _quarters(message, sent_on)])


def by_segment(mail: Mail, sent_on: Mapping[str, date | None], segments: Mapping[str, Iterable[str]]) -> Groups:
    """mart_segment_engagement: by segment and quarter; a letter to two segments counts in both."""
    return _grouped(
        mail,
        lambda _, message: [
            (segment, q) for q in _quarters(message, sent_on) for segment in segments.get(message.letter or "", ())
        ],
    )


def letter_segments(dsn: str) -> dict[str, set[str]]:
    """Whom each letter is for: segments of Bitrix, lists of the services."""
    found: dict[str, set[str]] = defaultdict(set)
    with psycopg.connect(dsn) as connection:
        for chain, group in connection.execute(
            "select chain_id, group_id from raw_bitrix.b_sender_mailing_chain_group"
            " where include = 1 and _deleted_at is null"
        ):
            found[f"bitrix:{chain}"].add(f"bitrix:{group}")
        for esp, account, campaign, list_id in connection.execute(
            "select esp, account, external_id, list_id from raw_esp.campaigns where _deleted_at is null"
        ):
            if list_id:
                found[f"{esp}:{account}:{campaign}"].add(f"{esp}:{account}:{list_id}")
    return found


def source_of(key: object) -> str:
    """Keys of Bitrix are recipient ids, those of a service begin with its name."""
    return str(key[0]) if isinstance(key, tuple) else "bitrix"


def _verdicts(acts: Iterable[Act]) -> dict[object, str]:
    """The most human act of each message."""
    found: dict[object, str] = {}
    for act in acts:
        verdict = "machine" if act.machine else "doubtful" if act.doubtful else "human"
        if act.message is not None:
            found[act.message] = _most_human(found.get(act.message), verdict)
    return found


def _most_human(one: str | None, other: str) -> str:
    order = ("human", "doubtful", "machine")
    return other if one is None else min(one, other, key=order.index)


def _grouped(mail: Mail, groups: Callable[[object, Message], Iterable[tuple[Any, ...]]]) -> Groups:
    found: dict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
    for key, message, counts in outcomes(mail):
        for group in groups(key, message):
            found[group].update(counts)
    return {group: dict(counts) for group, counts in found.items()}


def _day(message: Message) -> date | None:
    return message.sent_at.date() if message.sent_at else None


def _quarters(message: Message, sent_on: Mapping[str, date | None]) -> list[date]:
    day = _day(message) or sent_on.get(message.letter or "")
    if message.letter is None or day is None:
        return []
    return [date(day.year, (day.month - 1) // 3 * 3 + 1, 1)]
