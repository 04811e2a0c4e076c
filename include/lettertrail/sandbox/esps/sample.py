"""The part of the sample world that the smaller accounts hold: some of its people, and two letters from long ago.

The letters are older than every conversion of the world by more than any lookback window, so that their opens and
clicks cannot carry credit. Statuses are the truth of the world and come at the world's time: nobody is told to have
left or bounced who did not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Literal

from lettertrail.sandbox.esps.frames import is_given, records, text

if TYPE_CHECKING:
    # Loading pandas takes longer than all the rest, and a restart has nothing to seed.
    from lettertrail.sandbox.world import World

PEOPLE = 400
"""The world's first people of its mailing list; the smallest world has fewer."""

FIRST_AGE, SECOND_AGE = timedelta(days=764), timedelta(days=760)
"""How long before the world's end the two letters were sent."""

URL = "https://shop.example/welcome"

State = Literal["subscribed", "unsubscribed", "cleaned"]
Kind = Literal["delivered", "open", "click", "unsubscribe", "complaint", "hard", "soft"]


@dataclass(frozen=True, slots=True)
class Reader:
    """One person. Times are aware UTC."""

    number: int
    email: str
    email_as_typed: str
    first_name: str
    last_name: str
    state: State
    joined_at: datetime
    changed_at: datetime | None
    complained_at: datetime | None


@dataclass(frozen=True, slots=True)
class Mailing:
    """One letter to all readers."""

    number: int
    title: str
    subject: str
    sent_at: datetime


@dataclass(frozen=True, slots=True)
class Happening:
    """What one reader did, or what became of his letter."""

    mailing: int
    reader: Reader
    kind: Kind
    at: datetime


def readers(world: World) -> list[Reader]:
    """The people, by number; two who share an address are one."""
    there = world.people[world.people["on_mailchimp"]].sort_values("person").head(PEOPLE)
    complaints = _complaints(world)
    found: dict[str, Reader] = {}
    for person in records(there):
        email = str(person["email"])
        found.setdefault(email, _reader(person, complaints.get(email)))
    return list(found.values())


def mailings(world: World) -> tuple[Mailing, Mailing]:
    """The two letters, older one first."""
    end = datetime.combine(world.as_of, time(9), UTC)
    return (
        Mailing(1, "Welcome", "Welcome to the shop", end - FIRST_AGE),
        Mailing(2, "Old news", "Что нового 🌞", end - SECOND_AGE),
    )


def happenings(world: World) -> list[Happening]:
    """What happened to the two letters, in the order of time.

    Everybody got both but who bounced; the first reader read and clicked the first letter, the third's mailbox was
    full, and who left or complained did it by the second one.
    """
    first, second = mailings(world)
    people = readers(world)
    rows = [row for mailing in (first, second) for row in _deliveries(mailing, people, is_last=mailing is second)]
    mailable = [reader for reader in people if reader.state == "subscribed" and reader.complained_at is None]
    if mailable:
        eager = mailable[0]
        for mailing in (first, second):
            rows.append(Happening(mailing.number, eager, "open", mailing.sent_at + timedelta(hours=2)))
        rows.append(Happening(first.number, eager, "click", first.sent_at + timedelta(hours=2, minutes=1)))
    return sorted(rows, key=lambda row: row.at)


def _deliveries(mailing: Mailing, people: list[Reader], *, is_last: bool) -> Iterator[Happening]:
    full = next((r for r in people[1:] if r.state == "subscribed" and r.complained_at is None), None)
    for reader in people:
        arrived = mailing.sent_at + timedelta(minutes=1)
        changed = max(reader.changed_at or arrived, arrived)
        if reader.state == "cleaned":
            if is_last:
                yield Happening(mailing.number, reader, "hard", changed)
            continue
        if reader is full and not is_last:
            yield Happening(mailing.number, reader, "soft", arrived + timedelta(minutes=9))
            continue
        yield Happening(mailing.number, reader, "delivered", arrived)
        if not is_last:
            continue
        if reader.state == "unsubscribed":
            yield Happening(mailing.number, reader, "unsubscribe", changed)
        if reader.complained_at is not None:
            yield Happening(mailing.number, reader, "complaint", max(reader.complained_at, arrived))


def _complaints(world: World) -> dict[str, datetime]:
    """When each address complained to Mailchimp's letters."""
    letters = world.letters[world.letters["channel"] == "mailchimp"]["letter"]
    events = world.events[world.events["kind"] == "complaint"].merge(
        world.sends[["send", "letter", "email"]], on="send"
    )
    there = events[events["letter"].isin(letters)].sort_values("occurred_at", ascending=False)
    return {str(row["email"]): row["occurred_at"].to_pydatetime() for row in records(there)}


def _reader(person: dict[str, Any], complained_at: datetime | None) -> Reader:
    changed = person["mailchimp_changed_at"]
    return Reader(
        number=int(person["person"]),
        email=str(person["email"]),
        email_as_typed=text(person["email_as_typed"]).strip() or str(person["email"]),
        first_name=text(person["first_name"]),
        last_name=text(person["last_name"]),
        state=person["mailchimp_status"],
        joined_at=person["created_at"].to_pydatetime(),
        changed_at=changed.to_pydatetime() if is_given(changed) else None,
        complained_at=complained_at,
    )
