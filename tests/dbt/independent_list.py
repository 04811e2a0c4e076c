"""The list of addresses, month by month, once more: one address after the other, from the raw tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import chain

from tests.dbt.independent import Figures, Raw, email, preferred_emails, utc
from tests.dbt.independent_engagement import rate
from tests.dbt.independent_identity import Node

WAYS_OUT = {"complaint": "complained", "hard_bounce": "bounced"}
"""What ends it for an address; everything else is an unsubscribe."""


@dataclass(frozen=True, slots=True)
class Member:
    """An address of the list with the months in which something happened to it."""

    joined: date
    left: date | None
    way_out: str | None
    mailed: date | None
    engaged: date | None

    def is_on_list(self, month: date) -> bool:
        """At the end of a month."""
        return self.joined <= month and not (self.left and self.left <= month)


def month_of(moment: datetime) -> date:
    """The first day of its UTC month."""
    return moment.astimezone(UTC).date().replace(day=1)


def members(raw: Raw, figures: Figures, at: datetime) -> list[Member]:
    """Everybody who ever was on the list at `at`. Nobody leaves before they join, nor is written to before that."""
    joined: dict[str, datetime] = {}
    for address, moment in _appearances(raw):
        if address and moment and moment <= at:
            joined[address] = min(moment, joined.get(address, moment))
    mailed = _firsts((each.person, each.sent_at) for each in figures.mail.messages.values() if each.delivered)
    acts = chain(figures.mail.opens, figures.mail.clicks)
    engaged = _firsts(
        (figures.mail.messages[act.message].person, act.at) for act in acts if act.human and act.message is not None
    )
    return [_member(address, moment, figures, mailed, engaged, at) for address, moment in joined.items()]


def months(people: Iterable[Member], until: date) -> Iterator[Mapping[str, date | int | Decimal | None]]:
    """A row of mart_list_health for every month from the first to `until`; mart_list_growth has some of its columns."""
    list_ = list(people)
    month, before = min(each.joined for each in list_), 0
    while month <= until:
        there = [each for each in list_ if each.is_on_list(month)]
        gone = [each.way_out for each in list_ if each.left == month]
        a_year_ago = [each for each in list_ if each.is_on_list(_moved(month, -12))]
        mailed = [each for each in there if each.mailed and each.mailed <= month]
        silent = sum(not each.engaged or each.engaged > month for each in mailed)
        new = sum(each.joined == month for each in list_)
        yield {
            "month": month,
            "active_before": before,
            "joined": new,
            "lost": len(gone),
            **{word: gone.count(word) for word in ("unsubscribed", "bounced", "complained")},
            "active": len(there),
            "growth_rate": rate(new - len(gone), before),
            "loss_rate": rate(len(gone), before),
            "year_decay_rate": rate(sum(not each.is_on_list(month) for each in a_year_ago), len(a_year_ago)),
            "mailed_count": len(mailed),
            "never_engaged_count": silent,
            "never_engaged_rate": rate(silent, len(mailed)),
        }
        month, before = _moved(month, 1), len(there)


def _appearances(raw: Raw) -> Iterator[tuple[str | None, datetime | None]]:
    for row in raw.rows("raw_bitrix.b_sender_contact"):
        yield email(row["code"]) if row["type_id"] == 1 else None, utc(row["date_insert"])
    for row in raw.rows("raw_esp.contacts"):
        yield email(row["email"]), row["opted_in_at"] or row["changed_at"]
    made = {row["id"]: utc(row["date_create"]) for row in raw.rows("raw_bitrix.b_crm_contact")}
    for contact, address in preferred_emails(raw).items():
        yield address, made.get(contact)


def _firsts(found: Iterable[tuple[Node | None, datetime | None]]) -> dict[Node, datetime]:
    firsts: dict[Node, datetime] = {}
    for person, at in found:
        if person and at:
            firsts[person] = min(at, firsts.get(person, at))
    return firsts


def _member(
    address: str,
    joined: datetime,
    figures: Figures,
    mailed: Mapping[Node, datetime],
    engaged: Mapping[Node, datetime],
    at: datetime,
) -> Member:
    person = figures.identified.find(("email", address))
    since = figures.suppressed_since.get(address)
    left = max(since, joined) if since and since <= at else None
    first = mailed.get(person)
    return Member(
        joined=month_of(joined),
        left=_month(left),
        way_out=WAYS_OUT.get(figures.suppressed[address], "unsubscribed") if left else None,
        mailed=month_of(max(first, joined)) if first else None,
        engaged=_month(engaged.get(person)),
    )


def _month(moment: datetime | None) -> date | None:
    return month_of(moment) if moment else None


def _moved(month: date, by: int) -> date:
    number = month.year * 12 + month.month - 1 + by
    return date(number // 12, number % 12 + 1, 1)
