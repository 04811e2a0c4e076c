"""The Mailchimp half of the sample world, as its adapter would deliver it; no HTTP between."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import pandas as pd

from lettertrail.esps.port import (
    Body,
    BounceKind,
    Campaign,
    CampaignTotals,
    Contact,
    ContactStatus,
    Event,
    EventType,
    Link,
    MailingList,
    event_id,
)
from lettertrail.sandbox.esps.mailchimp.seed import content_of, topics_of
from lettertrail.sandbox.world import World

AUDIENCE = "a1b2c3d4e5"
KINDS: dict[str, EventType] = {
    "open": "opened",
    "click": "clicked",
    "unsubscribe": "unsubscribed",
    "complaint": "complained",
}
BOUNCES: dict[str, BounceKind] = {"hard_bounce": "hard", "soft_bounce": "soft"}


class WorldMailchimp:
    """Reads all that its adapter would out of a `World`."""

    name = "mailchimp"
    account = "mailchimp"

    def __init__(self, world: World) -> None:
        self._letters = world.letters[world.letters["channel"] == "mailchimp"].set_index("letter")
        self._people = world.people[world.people["on_mailchimp"].astype(bool)]
        self._sends = world.sends[world.sends["letter"].isin(self._letters.index)].set_index("send")
        self._events = world.events[world.events["send"].isin(self._sends.index)]

    def campaigns(self, since: datetime | None) -> Iterator[Campaign]:
        """Every campaign."""
        for letter, row in self._letters.iterrows():
            yield Campaign(
                external_id=f"{letter:010x}",
                list_id=AUDIENCE,
                title=row["title"],
                subject=row["subject"],
                status="sent",
                sent_at=row["sent_at"].to_pydatetime(),
                emails_sent=None,
                utm_campaign=row["utm_campaign"],
                url=None,
                updated_at=None,
                payload={},
            )

    def bodies(self, held: Mapping[str, str]) -> Iterator[Body]:
        """The HTML of all but two letters, of which the links must do."""
        for place, (letter, row) in enumerate(self._letters.iterrows()):
            if (campaign := f"{letter:010x}") not in held and place > 1:
                yield Body(campaign, row["sent_at"].isoformat(), content_of(row["subject"], row["urls"]))

    def contacts(self, since: datetime | None) -> Iterator[Contact]:
        """Every list member."""
        for _, row in self._people.iterrows():
            status: ContactStatus = row["mailchimp_status"]
            yield Contact(
                external_id=f"{AUDIENCE}:{_member(row['email'])}",
                list_id=AUDIENCE,
                email=row["email"],
                status=status,
                status_reason=None,
                opted_in_at=row["created_at"].to_pydatetime(),
                changed_at=row["mailchimp_changed_at"].to_pydatetime(),
                tags=(),
                payload={},
                fields=topics_of(int(row["person"])),
            )

    def lists(self) -> Iterator[MailingList]:
        """The one audience."""
        yield MailingList(
            external_id=AUDIENCE, name="Все", status="active", contacts=len(self._people), created_at=None, payload={}
        )

    def totals(self, since: datetime | None) -> Iterator[CampaignTotals]:
        """What was sent, by letter; Mailchimp's own reports would hold more."""
        for letter, sends in self._sends.groupby("letter"):
            yield CampaignTotals(external_id=f"{letter:010x}", sent=len(sends))

    def links(self, since: datetime | None) -> Iterator[Link]:
        """Every address that was clicked in a letter, with how often."""
        clicks = self._events[self._events["url"].notna()].merge(
            self._sends["letter"], left_on="send", right_index=True
        )
        for (letter, url), found in clicks.groupby(["letter", "url"]):
            campaign = f"{letter:010x}"
            yield Link(
                external_id=event_id(campaign, url),
                campaign_id=campaign,
                url=url,
                clicks=len(found),
                clicked=found["send"].nunique(),
                payload={},
            )

    def events(self, since: datetime | None, until: datetime | None = None) -> Iterator[Event]:
        """Sends and bounces, dated with the letter as Mailchimp has no times for them; then what was done."""
        for _, send in self._sends.iterrows():
            at = self._letters.loc[send["letter"], "sent_at"].to_pydatetime()
            yield _event(send, "sent", at)
            if send["outcome"] in BOUNCES:
                yield _event(send, "bounced", at, bounce_kind=BOUNCES[send["outcome"]])
        for _, event in self._events.iterrows():
            kind = KINDS[event["kind"]]
            yield _event(
                self._sends.loc[event["send"]],
                kind,
                event["occurred_at"].to_pydatetime(),
                nth=int(event["event"]),
                url=None if pd.isna(event["url"]) else event["url"],
                # Mailchimp marks opens only, and knows Apple's proxy but not a company's scanner.
                is_proxy=event["actor"] == "apple_proxy" if kind == "opened" else None,
            )


def _event(
    send: Any,
    kind: EventType,
    at: datetime,
    *,
    nth: int = 0,
    bounce_kind: BounceKind | None = None,
    url: str | None = None,
    is_proxy: bool | None = None,
) -> Event:
    campaign = f"{send['letter']:010x}"
    return Event(
        external_id=event_id(campaign, send["email"], kind, at.isoformat(), url, nth),
        campaign_id=campaign,
        contact_id=f"{AUDIENCE}:{_member(send['email'])}",
        email=send["email"],
        event_type=kind,
        bounce_kind=bounce_kind,
        occurred_at=at,
        url=url,
        is_proxy=is_proxy,
        reason=None,
        payload={},
    )


def _member(email: str) -> str:
    return hashlib.md5(email.encode(), usedforsecurity=False).hexdigest()
