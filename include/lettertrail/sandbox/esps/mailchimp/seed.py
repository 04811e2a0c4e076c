"""Fills the account from the simulated world: one audience, its members, the letters sent and what people did."""

from __future__ import annotations

import html
import logging
import sqlite3
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from lettertrail.sandbox.esps.frames import is_given, records, text
from lettertrail.sandbox.esps.mailchimp.lists import save_merge_field
from lettertrail.sandbox.esps.mailchimp.store import LIST_ID, MailchimpStore, digits, dump, subscriber_hash
from lettertrail.sandbox.esps.mailchimp.wire import Json, utc_text
from lettertrail.sandbox.state import WorldMark, is_filled

if TYPE_CHECKING:
    # Loading pandas takes longer than all the rest, and a restart has nothing to seed.
    import pandas as pd

    from lettertrail.sandbox.world import World

log = logging.getLogger(__name__)

BOUNCE_KINDS = {"hard_bounce": "hard", "soft_bounce": "soft", "failed": "soft"}
COMPLIANCE = {"unsubscribed": "unsubscribe", "cleaned": "bounce"}
REASONS = (
    "None given",
    "No longer interested",
    "Didn't sign up for list",
    "Spammy content",
    "Inappropriate content",
)
MERGE_FIELDS: tuple[Json, ...] = (
    {"tag": "FNAME", "name": "First Name", "type": "text"},
    {"tag": "LNAME", "name": "Last Name", "type": "text"},
    {"tag": "BIRTHDAY", "name": "Birthday", "type": "birthday", "options": {"date_format": "MM/DD"}},
)
TOPICS = {
    "a1c0000001": "Company news",
    "a1c0000002": "Sales and discounts",
    "a1c0000003": "Product updates",
    "a1c0000004": "Event invitations",
}
"""The interests of the audience's one group, by id."""
TOPIC_GROUP = "a1c0000000"


def topics_of(person: int) -> dict[str, bool]:
    """Which topics a member ticked, by name; a third never saw the form, so nothing is ticked."""
    return {
        name: person % 3 != 0 and (person + person // 5 + place) % 4 < 2 for place, name in enumerate(TOPICS.values())
    }


def campaign_id(letter: int) -> str:
    """The id under which a letter of the world is known here."""
    return f"{letter:010x}"


def content_of(subject: str, urls: Iterable[str]) -> str:
    """A letter's HTML: its links, and Mailchimp's own tag for the way out."""
    links = "".join(f'<p><a href="{html.escape(url)}">{place}</a></p>' for place, url in enumerate(urls, start=1))
    return (
        f"<html><body><h1>{html.escape(subject)}</h1><p>*|FNAME|*</p>{links}"
        '<p><a href="*|UNSUB|*">Unsubscribe</a></p></body></html>'
    )


def is_seeded(store: MailchimpStore, mark: WorldMark) -> bool:
    """Whether the account was filled from this world.

    Raises:
        ConfigurationError: when it was filled from another one.
    """
    return is_filled(store, mark, service="Mailchimp")


def seed_mailchimp(world: World, store: MailchimpStore) -> bool:
    """Writes the world into an empty account; an account that was seeded from the same world is left alone.

    Returns:
        Whether anything was written.

    Raises:
        ConfigurationError: when the account holds another world.
    """
    mark = WorldMark.of(world)
    if is_seeded(store, mark):
        return False
    letters = world.letters[world.letters["channel"] == "mailchimp"]
    sends = world.sends[world.sends["letter"].isin(letters["letter"])]
    events = world.events[world.events["send"].isin(sends["send"])]
    with store.transaction() as db:
        _audience(store, db, letters)
        members = _members(db, world.people)
        _campaigns(db, letters)
        _sends(db, sends)
        _events(db, events, sends)
        store.remember("world", str(mark))
    log.info(
        "seeded mailchimp: members=%d campaigns=%d sends=%d events=%d", members, len(letters), len(sends), len(events)
    )
    return True


def _audience(store: MailchimpStore, db: sqlite3.Connection, letters: pd.DataFrame) -> None:
    created = min(letters["sent_at"], default=None)
    created_text = utc_text(created - timedelta(days=30)) if created is not None else store.now()
    db.execute(
        "insert into lists (id, web_id, name, date_created, double_optin) values (?, ?, ?, ?, 0)",
        (LIST_ID, digits(LIST_ID, 6), "Newsletter", created_text),
    )
    for number, field in enumerate(MERGE_FIELDS, start=1):
        save_merge_field(store, LIST_ID, number, field)
    group = {"list_id": LIST_ID, "id": TOPIC_GROUP, "title": "Topics", "display_order": 0, "type": "checkboxes"}
    db.execute(
        "insert into interest_categories (id, list_id, payload) values (?, ?, ?)", (TOPIC_GROUP, LIST_ID, dump(group))
    )
    for place, (key, name) in enumerate(TOPICS.items()):
        topic = {"category_id": TOPIC_GROUP, "list_id": LIST_ID, "id": key, "name": name, "display_order": place}
        db.execute(
            "insert into interests (id, category_id, list_id, payload) values (?, ?, ?, ?)",
            (key, TOPIC_GROUP, LIST_ID, dump(topic)),
        )


def _members(db: sqlite3.Connection, people: pd.DataFrame) -> int:
    """Two people who share an address are one member: the first wins."""
    rows = (_member(person) for person in records(people[people["on_mailchimp"]]))
    before = db.total_changes
    db.executemany(
        "insert or ignore into members (list_id, id, email_address, status, compliance, unsubscribe_reason, language, "
        "merge_fields, interests, ip_signup, ip_opt, timestamp_signup, timestamp_opt, last_changed, unsubscribed_at, "
        "source) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
    return db.total_changes - before


def _member(person: dict[str, Any]) -> tuple[Any, ...]:
    joined = utc_text(person["created_at"])
    status = str(person["mailchimp_status"])
    changed = utc_text(person["mailchimp_changed_at"]) if is_given(person["mailchimp_changed_at"]) else joined
    merge = {
        "FNAME": text(person["first_name"]),
        "LNAME": text(person["last_name"]),
        "BIRTHDAY": person["birthday"].strftime("%m/%d") if is_given(person["birthday"]) else "",
    }
    ip = _address("person", person["person"])
    left = status == "unsubscribed"
    return (
        LIST_ID,
        subscriber_hash(person["email"]),
        text(person["email_as_typed"]).strip() or person["email"],
        status,
        COMPLIANCE.get(status),
        REASONS[int(person["person"]) % len(REASONS)] if left else "",
        "ru",
        dump(merge),
        dump({key: True for key, name in TOPICS.items() if topics_of(int(person["person"]))[name]}),
        ip,
        ip,
        joined,
        joined,
        changed,
        changed if left else "",
        "Embed Form",
    )


def _campaigns(db: sqlite3.Connection, letters: pd.DataFrame) -> None:
    for letter in records(letters):
        sent = letter["sent_at"]
        db.execute(
            "insert into campaigns (id, web_id, list_id, type, status, title, subject_line, google_analytics, "
            "create_time, send_time, archive_url) values (?, ?, ?, 'regular', 'sent', ?, ?, ?, ?, ?, ?)",
            (
                campaign_id(letter["letter"]),
                digits(f"campaign{letter['letter']}", 7),
                LIST_ID,
                letter["title"],
                letter["subject"],
                text(letter["utm_campaign"]),
                utc_text(sent - timedelta(hours=20)),
                utc_text(sent),
                f"https://sandbox.example/archive/{campaign_id(letter['letter'])}",
            ),
        )
        db.execute(
            "insert into contents (campaign_id, html) values (?, ?)",
            (campaign_id(letter["letter"]), content_of(letter["subject"], letter["urls"])),
        )


def _sends(db: sqlite3.Connection, sends: pd.DataFrame) -> None:
    db.executemany(
        "insert into sends (send, campaign_id, list_id, email_id, email_address, status, sent_at) "
        "values (?, ?, ?, ?, ?, ?, ?)",
        (
            (
                int(send["send"]),
                campaign_id(send["letter"]),
                LIST_ID,
                subscriber_hash(send["email"]),
                send["email"],
                BOUNCE_KINDS.get(send["outcome"], "sent"),
                utc_text(send["sent_at"]),
            )
            for send in records(sends)
        ),
    )
    db.executemany(
        "insert into activity (send, campaign_id, action, type, timestamp) values (?, ?, 'bounce', ?, ?)",
        (
            (
                int(send["send"]),
                campaign_id(send["letter"]),
                BOUNCE_KINDS[send["outcome"]],
                utc_text(send["bounced_at"] if is_given(send["bounced_at"]) else send["sent_at"]),
            )
            for send in records(sends[sends["outcome"].isin(BOUNCE_KINDS)])
        ),
    )


def _events(db: sqlite3.Connection, events: pd.DataFrame, sends: pd.DataFrame) -> None:
    merged = events.merge(sends[["send", "letter"]], on="send").sort_values(["occurred_at", "event"])
    by_kind = dict(list(merged.groupby("kind")))
    for kind in ("open", "click"):
        db.executemany(
            "insert into activity (send, campaign_id, action, timestamp, url, ip, is_proxy) "
            "values (?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    int(event["send"]),
                    campaign_id(event["letter"]),
                    kind,
                    utc_text(event["occurred_at"]),
                    text(event["url"]) or None if kind == "click" else None,
                    _address(event["actor"], event["send"]),
                    int(event["actor"] == "apple_proxy"),
                )
                for event in records(by_kind.get(kind, merged.iloc[:0]))
            ),
        )
    db.executemany(
        "insert or ignore into unsubscribes (send, campaign_id, timestamp, reason) values (?, ?, ?, ?)",
        (
            (
                int(event["send"]),
                campaign_id(event["letter"]),
                utc_text(event["occurred_at"]),
                REASONS[int(event["send"]) % len(REASONS)],
            )
            for event in records(by_kind.get("unsubscribe", merged.iloc[:0]))
        ),
    )
    complaints = [
        (int(event["send"]), campaign_id(event["letter"]), utc_text(event["occurred_at"]))
        for event in records(by_kind.get("complaint", merged.iloc[:0]))
    ]
    db.executemany("insert into abuse_reports (send, campaign_id, date) values (?, ?, ?)", complaints)
    # A complaint unsubscribes as well, and the API may not undo it.
    db.executemany(
        "update members set compliance = 'abuse', status = 'unsubscribed', unsubscribe_reason = 'Abuse complaint', "
        "last_changed = max(last_changed, ?), unsubscribed_at = ? "
        "where id = (select email_id from sends where send = ?) and status <> 'cleaned'",
        [(date, date, send) for send, _, date in complaints],
    )


def _address(kind: str, number: Any) -> str:
    """Apple's proxies, a scanner's data centre, or a home line: what each looks like in the activity report."""
    low, high = int(number) % 250 + 1, int(number) // 250 % 250 + 1
    networks = {"apple_proxy": "17.58", "scanner": "40.94"}
    return f"{networks.get(kind, '95.31')}.{high}.{low}"
