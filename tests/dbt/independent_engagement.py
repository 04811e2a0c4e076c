"""The engagement marts once more, in plain Python: one pass over the messages of `independent`, no joins."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

from tests.dbt.independent import BOUNCE_RANKS, Act, Mail, Message, Raw, utc

Counts = dict[str, int]
Groups = dict[tuple[Any, ...], Counts]

RATES = {
    "delivery_rate": ("delivered_count", "sent_count"),
    "bounce_rate": ("bounced_count", "attempted_count"),
    "open_rate": ("opened_count", "tracked_count"),
    "open_rate_human": ("opened_human_count", "tracked_count"),
    "click_rate": ("clicked_human_count", "tracked_count"),
    "click_to_open_rate": ("clicked_human_count", "opened_human_count"),
    "unsubscribe_rate": ("unsubscribed_count", "delivered_count"),
    "complaint_rate": ("complained_count", "delivered_count"),
}
"""What is divided by what."""
COMPLAINTS = {"ok": Fraction(0), "over_warning": Fraction("0.001"), "over_limit": Fraction("0.003")}
"""From which share of the delivered letters on."""


def rate(part: int, whole: int) -> Decimal | None:
    """Six digits; None where there is nothing to be a part of."""
    return (Decimal(part) / whole).quantize(Decimal("0.000001"), ROUND_HALF_UP) if whole else None


def rates(counts: Counts) -> dict[str, Decimal | None]:
    """All rates of a group."""
    return {name: rate(counts[part], counts[whole]) for name, (part, whole) in RATES.items()}


def complaint_status(counts: Counts) -> str | None:
    """What a mail host would say."""
    if not counts["delivered_count"]:
        return None
    share = Fraction(counts["complained_count"], counts["delivered_count"])
    return max((word for word, least in COMPLAINTS.items() if share >= least), key=list(COMPLAINTS).index)


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
            "rejected_count": 0,
            **{f"bounced_{kind}_count": int(message.bounce_kind == kind) for kind in BOUNCE_RANKS},
            "bounced_policy_count": 0,
            "tracked_count": int(message.delivered and message.letter not in mail.untracked),
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


def by_campaign(mail: Mail, campaigns: Mapping[str, str]) -> Groups:
    """mart_campaign_performance: by campaign, with those none of whose letters went out."""
    found = _grouped(mail, lambda _, message: [(campaigns[message.letter],)] if message.letter else [])
    for campaign in set(campaigns.values()):
        found.setdefault((campaign,), dict.fromkeys(next(iter(found.values())), 0))
    for (campaign,), counts in found.items():
        counts["letter_count"] = list(campaigns.values()).count(campaign)
    return found


def letter_campaigns(raw: Raw) -> dict[str, str]:
    """The campaign of every letter: Bitrix has its own, letters of a service that share a `utm_campaign` are one."""
    found = {
        f"bitrix:{row['id']}": f"bitrix:{row['mailing_id']}"
        for row in raw.rows("raw_bitrix.b_sender_mailing_chain")
        if row["message_code"] == "mail"
    }
    for row in raw.rows("raw_esp.campaigns"):
        letter = f"{row['esp']}:{row['account']}:{row['external_id']}"
        found[letter] = f"{row['esp']}:{row['utm_campaign']}" if row["utm_campaign"] else letter
    return found


def letter_times(raw: Raw) -> dict[str, datetime | None]:
    """When every letter was first sent."""
    found: dict[str, datetime | None] = {
        f"bitrix:{row['id']}": None
        for row in raw.rows("raw_bitrix.b_sender_mailing_chain")
        if row["message_code"] == "mail"
    }
    for row in raw.rows("raw_bitrix.b_sender_posting"):
        letter, at = f"bitrix:{row['mailing_chain_id']}", utc(row["date_send"])
        if letter in found and at is not None:
            found[letter] = min(at, found[letter] or at)
    for row in raw.rows("raw_esp.campaigns"):
        found[f"{row['esp']}:{row['account']}:{row['external_id']}"] = row["sent_at"]
    return found


def letter_segments(raw: Raw) -> dict[str, set[str]]:
    """Whom each letter is for: segments of Bitrix, lists of the services."""
    found: dict[str, set[str]] = defaultdict(set)
    for row in raw.rows("raw_bitrix.b_sender_mailing_chain_group"):
        if row["include"]:
            found[f"bitrix:{row['chain_id']}"].add(f"bitrix:{row['group_id']}")
    for row in raw.rows("raw_esp.campaigns"):
        if row["list_id"]:
            letter = f"{row['esp']}:{row['account']}:{row['external_id']}"
            found[letter].add(f"{row['esp']}:{row['account']}:{row['list_id']}")
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
    letters: dict[tuple[Any, ...], set[str | None]] = defaultdict(set)
    for key, message, counts in outcomes(mail):
        for group in groups(key, message):
            found[group].update(counts)
            letters[group].add(message.letter)
    return {group: {**counts, "letter_count": len(letters[group])} for group, counts in found.items()}


def _day(message: Message) -> date | None:
    return message.sent_at.date() if message.sent_at else None


def _quarters(message: Message, sent_on: Mapping[str, date | None]) -> list[date]:
    day = _day(message) or sent_on.get(message.letter or "")
    if message.letter is None or day is None:
        return []
    return [date(day.year, (day.month - 1) // 3 * 3 + 1, 1)]
