"""What the sender module of the sample site holds: dispatches, their recipients and what those did.

`sender_frames` works everything out from the world; `write_sender` puts it into the tables. Facts from bitrix.md 1; its
invariants (1.11) hold here, and the tests check each by SQL. Columns of the frames are named like the Bitrix columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lettertrail.sandbox import php
from lettertrail.sandbox.bitrix_letters import write_letters
from lettertrail.sandbox.bitrix_refusals import (
    EMPLOYEES,
    abuse_frame,
    blacklist_frame,
    contact_frames,
    subscription_frame,
)
from lettertrail.sandbox.bitrix_rows import ZERO_DATETIME, Writer, encode_emoji, local, yes_no
from lettertrail.sandbox.world import World
from lettertrail.sandbox.world_letters import BITRIX_LETTERS, WELCOME_LETTERS

DELETED_POSTING = 1
"""The posting of a letter that somebody deleted; its recipients and reads are still there (bitrix.md 1.6)."""
ORPHAN_RECIPIENTS = 7
LOST_RECIPIENTS = 3
"""Ids of recipients that a rebuilt posting lost, while their reads stayed."""
SHARE_FROM_LISTS = 0.08
"""Recipients that came from an imported list, so that nothing ties them to a CRM card but the address."""

Ids = NDArray[np.int64]
Moments = NDArray[np.datetime64]


@dataclass(frozen=True, slots=True)
class SenderFrames:
    """The module's rows, and how the world's ids became Bitrix ids."""

    postings: pd.DataFrame
    recipients: pd.DataFrame
    reads: pd.DataFrame
    clicks: pd.DataFrame
    unsubs: pd.DataFrame
    contacts: pd.DataFrame
    subscriptions: pd.DataFrame
    abuse: pd.DataFrame
    blacklist: pd.DataFrame
    consents: pd.DataFrame
    """email, at (naive local), posting: who answered a consent request with yes."""
    recipient_of_send: Ids
    """`b_sender_posting_recipient.ID` by send number; 0 for sends of other channels."""


def write_sender(writer: Writer, world: World, frames: SenderFrames) -> None:
    """Writes all tables of the module."""
    write_letters(writer, world, frames.postings)
    recipients = frames.recipients if writer.moves_on_update else _as_inserted(frames.recipients, frames.postings)
    for table, frame in (
        ("b_sender_posting", frames.postings),
        ("b_sender_posting_recipient", recipients),
        ("b_sender_posting_read", frames.reads),
        ("b_sender_posting_click", frames.clicks),
        ("b_sender_posting_unsub", frames.unsubs),
        ("b_sender_contact", frames.contacts),
        ("b_sender_mailing_subscription", frames.subscriptions),
        ("b_sender_abuse", frames.abuse),
        ("b_main_mail_blacklist", frames.blacklist),
    ):
        writer.write(table, {str(name): frame[name].to_numpy() for name in frame.columns})


def _as_inserted(recipients: pd.DataFrame, postings: pd.DataFrame) -> pd.DataFrame:
    """DATE_UPDATE as PostgreSQL leaves it, at the time the posting was built (bitrix.md 1.3)."""
    built_at = recipients["POSTING_ID"].map(postings.set_index("ID")["DATE_CREATE"])
    return recipients.assign(DATE_UPDATE=built_at.fillna(recipients["DATE_SENT"]))


def sender_frames(world: World, rng: np.random.Generator, *, user_of_person: Ids) -> SenderFrames:
    """Works the rows out. `user_of_person`: `b_user.ID` by person number, 0 without an account."""
    sends = world.sends[world.sends["letter"] <= BITRIX_LETTERS]
    postings = world.dispatches[world.dispatches["channel"] == "bitrix"].reset_index(drop=True)
    postings["posting"] = DELETED_POSTING + 1 + np.arange(len(postings))
    emails = pd.Index(EMPLOYEES).append(pd.Index(pd.concat([sends["email"], world.queued["email"]]).unique()))
    recipients = _recipients(world, rng, sends=sends, postings=postings, emails=emails, user_of_person=user_of_person)
    recipient_of_send = np.zeros(len(world.sends) + 1, dtype=np.int64)
    own = recipients["send"].to_numpy()
    recipient_of_send[own[own > 0]] = recipients["ID"].to_numpy()[own > 0]
    events = _events(world, recipients, recipient_of_send)
    recipients = _flagged(recipients, events)
    contacts, consents = contact_frames(
        world, rng, sends=sends, postings=postings, emails=emails, recipients=recipients, user_of_person=user_of_person
    )
    return SenderFrames(
        postings=_postings(world, postings, recipients),
        recipients=recipients.drop(columns=["send", "touched"]),
        reads=_event_rows(events["open"], recipients, orphans=True).drop(columns="URL"),
        clicks=_event_rows(events["click"], recipients),
        unsubs=_event_rows(events["unsubscribe"], recipients).drop(columns="URL"),
        contacts=contacts,
        subscriptions=subscription_frame(world, rng, sends=sends, emails=emails, contacts=contacts),
        abuse=abuse_frame(world, emails),
        blacklist=blacklist_frame(world, sends=sends, contacts=contacts),
        consents=consents,
        recipient_of_send=recipient_of_send,
    )


# --- recipients ---


def _recipients(
    world: World,
    rng: np.random.Generator,
    *,
    sends: pd.DataFrame,
    postings: pd.DataFrame,
    emails: pd.Index,
    user_of_person: Ids,
) -> pd.DataFrame:
    posting_of = postings.set_index("dispatch")["posting"]
    sent_at = local(sends["sent_at"])
    sent = pd.DataFrame(
        {
            "POSTING_ID": sends["dispatch"].map(posting_of).to_numpy(np.int64),
            "CONTACT_ID": emails.get_indexer(pd.Index(sends["email"])) + 1,
            "STATUS": np.where(sends["outcome"].isin(["failed", "hard_bounce"]), "E", "N"),
            "DATE_SENT": sent_at,
            "send": sends["send"].to_numpy(),
            "person": sends["person"].to_numpy(),
            "touched": np.fmax(sent_at, local(sends["bounced_at"])),
        }
    )
    waiting = pd.DataFrame(
        {
            "POSTING_ID": world.queued["dispatch"].map(posting_of).to_numpy(np.int64),
            "CONTACT_ID": emails.get_indexer(pd.Index(world.queued["email"])) + 1,
            "STATUS": "Y",
            "person": world.queued["person"].to_numpy(),
        }
    )
    rows = pd.concat([_orphans(world), sent, waiting, _odd_statuses(postings)], ignore_index=True)
    rows = rows.sort_values(["POSTING_ID"], kind="stable").reset_index(drop=True)
    numbers = np.arange(1, len(rows) + 1)
    # In the middle a posting was built twice: the ids of the first time are gone.
    rows.insert(0, "ID", np.where(numbers > len(rows) // 2, numbers + LOST_RECIPIENTS, numbers))
    for column in ("send", "person"):
        rows[column] = rows[column].fillna(0).astype(np.int64)
    rows["touched"] = rows["touched"].fillna(local(pd.Series([world.ended_at - pd.Timedelta(hours=3)]))[0])
    rows["DATE_DENY"] = np.datetime64("NaT", "s")
    goal = rows.index[rows["POSTING_ID"].isin(postings["posting"][postings["letter"] == 1]) & (rows["STATUS"] == "N")][
        :2
    ]
    rows.loc[goal, "DATE_DENY"] = rows.loc[goal, "DATE_SENT"] + pd.Timedelta(days=2)
    rows["FIELDS"] = _fields(world, rng, rows)
    users = user_of_person[rows["person"].to_numpy()]
    rows["USER_ID"] = pd.Series(users).astype("Int64").mask(users == 0)
    return rows.drop(columns="person")


def _orphans(world: World) -> pd.DataFrame:
    """A test letter to employees, deleted afterwards."""
    at = local(pd.Series([world.started_at]))[0]
    return pd.DataFrame(
        {
            "POSTING_ID": DELETED_POSTING,
            "CONTACT_ID": np.arange(1, ORPHAN_RECIPIENTS + 1),
            "STATUS": "N",
            "DATE_SENT": at,
            "touched": at,
        }
    )


def _odd_statuses(postings: pd.DataFrame) -> pd.DataFrame:
    """W and D in a trigger chain, A in a posting that asks for consent; employees play these parts."""
    chain = postings[postings["letter"] == 2]["posting"].to_numpy()
    asking = _asking_posting(postings)
    asked_at = local(postings["started_at"])[asking - DELETED_POSTING - 1] + np.timedelta64(60, "s")
    return pd.DataFrame(
        {
            "POSTING_ID": [*[chain[1]] * 3, *[chain[2]] * 2, *[asking] * 2],
            "CONTACT_ID": [1, 2, 3, 4, 5, 6, 7],
            "STATUS": ["W", "W", "W", "D", "D", "A", "A"],
            "DATE_SENT": np.array([np.datetime64("NaT")] * 5 + [asked_at] * 2, dtype="datetime64[s]"),
        }
    )


def _asking_posting(postings: pd.DataFrame) -> int:
    return int(postings["posting"][postings["letter"] == WELCOME_LETTERS + 2].min())


def _fields(world: World, rng: np.random.Generator, rows: pd.DataFrame) -> NDArray[np.object_]:
    """Personalisation values. A card that was merged later is still named in the recipients of its time."""
    people = world.people
    person = rows["person"].to_numpy()
    companies = people["company"].fillna(0).to_numpy(np.int64)
    names = people["first_name"].tolist()
    plain = [
        _serialized(encode_emoji(name), card=number, company=company)
        for number, (name, company) in enumerate(zip(names, companies.tolist(), strict=True), start=1)
    ]
    fields: NDArray[np.object_] = np.array([None, *plain], dtype=object)[person]
    fields[rng.random(len(rows)) < SHARE_FROM_LISTS] = php.serialize({})
    merged = world.cards[world.cards["merged_at"].notna()]
    sent_at = rows["DATE_SENT"].to_numpy("datetime64[s]")
    for owner, card, created, gone in zip(
        merged["person"].tolist(),
        merged["contact_id"].tolist(),
        local(merged["created_at"]),
        local(merged["merged_at"]),
        strict=True,
    ):
        then = (person == owner) & (sent_at >= created) & (sent_at < gone)
        fields[then] = _serialized(names[owner - 1], card=card, company=int(companies[owner - 1]))
    return fields


def _serialized(name: str, *, card: int, company: int) -> str:
    return php.serialize(
        {
            "NAME": name,
            "CRM_ENTITY_ID": str(card),
            "CRM_ENTITY_TYPE_ID": 3,
            "CRM_ENTITY_TYPE": "CONTACT",
            "CRM_CONTACT_ID": str(card),
            "CRM_COMPANY_ID": str(company) if company else None,
        }
    )


# --- what recipients did ---


def _events(world: World, recipients: pd.DataFrame, recipient_of_send: Ids) -> dict[str, pd.DataFrame]:
    recipient = recipient_of_send[world.events["send"].to_numpy()]
    here = recipient > 0
    events = pd.DataFrame(
        {
            "RECIPIENT_ID": recipient[here],
            "DATE_INSERT": local(world.events["occurred_at"])[here],
            "URL": world.events["url"].to_numpy(object)[here],
            "kind": world.events["kind"].astype(str).to_numpy()[here],
        }
    )
    by_kind = {str(kind): rows.drop(columns="kind") for kind, rows in events.groupby("kind")}
    orphans = recipients[recipients["POSTING_ID"] == DELETED_POSTING].head(3)
    seen = pd.DataFrame(
        {"RECIPIENT_ID": orphans["ID"], "DATE_INSERT": orphans["DATE_SENT"] + pd.Timedelta(minutes=5), "URL": None}
    )
    by_kind["open"] = pd.concat([seen, by_kind["open"]], ignore_index=True)
    return by_kind


def _flagged(recipients: pd.DataFrame, events: dict[str, pd.DataFrame]) -> pd.DataFrame:
    ids = recipients["ID"]
    flags: dict[str, Any] = {}
    touched = recipients["touched"].to_numpy("datetime64[s]")
    for column, kind in (("IS_READ", "open"), ("IS_CLICK", "click"), ("IS_UNSUB", "unsubscribe")):
        first = events[kind].groupby("RECIPIENT_ID")["DATE_INSERT"].min()
        flags[column] = yes_no(ids.isin(first.index).to_numpy())
        touched = np.fmax(touched, ids.map(first).to_numpy("datetime64[s]"))
    return recipients.assign(**flags, DATE_UPDATE=touched)


def _event_rows(events: pd.DataFrame, recipients: pd.DataFrame, *, orphans: bool = False) -> pd.DataFrame:
    posting = recipients.set_index("ID")["POSTING_ID"]
    if orphans:
        lost = len(recipients) // 2 + np.arange(1, LOST_RECIPIENTS + 1)
        middle = events.iloc[[len(events) // 2]]
        events = pd.concat(
            [events, pd.DataFrame({"RECIPIENT_ID": lost, "DATE_INSERT": middle["DATE_INSERT"].iat[0], "URL": None})]
        )
        # They belong to the posting that was built twice.
        posting = pd.concat([posting, pd.Series(posting.iloc[len(recipients) // 2], index=lost)])
    events = events.sort_values("DATE_INSERT", kind="stable").reset_index(drop=True)
    events.insert(0, "ID", np.arange(1, len(events) + 1))
    return events.assign(POSTING_ID=events["RECIPIENT_ID"].map(posting).to_numpy(np.int64))


def _postings(world: World, postings: pd.DataFrame, recipients: pd.DataFrame) -> pd.DataFrame:
    groups = recipients[recipients["POSTING_ID"] != DELETED_POSTING]
    number = groups["POSTING_ID"].to_numpy() - DELETED_POSTING - 1

    def count(chosen: pd.Series[Any]) -> Ids:
        return np.bincount(number[chosen.to_numpy()], minlength=len(postings)).astype(np.int64)

    started_at = local(postings["started_at"])
    waiting, errors = count(groups["STATUS"] == "Y"), count(groups["STATUS"] == "E")
    last = groups.groupby("POSTING_ID")["DATE_SENT"].max().reindex(postings["posting"]).to_numpy("datetime64[s]")
    paused: list[str | None] = [None] * len(postings)
    paused[3:6] = [ZERO_DATETIME] * 3
    return pd.DataFrame(
        {
            "ID": postings["posting"].to_numpy(),
            "DATE_UPDATE": started_at - np.timedelta64(300, "s"),
            "MAILING_ID": postings["campaign"].to_numpy(np.int64),
            "MAILING_CHAIN_ID": postings["letter"].to_numpy(np.int64),
            "STATUS": np.where(waiting > 0, "P", np.where(errors > 0, "E", "S")),
            "DATE_SEND": started_at,
            "DATE_PAUSE": paused,
            "DATE_SENT": np.where(waiting > 0, np.datetime64("NaT", "s"), np.fmax(last, started_at)),
            "DATE_CREATE": started_at - np.timedelta64(300, "s"),
            "COUNT_SEND_ALL": np.bincount(number, minlength=len(postings)),
            "COUNT_SEND_NONE": waiting,
            "COUNT_SEND_ERROR": errors,
            "COUNT_SEND_SUCCESS": count(groups["STATUS"] == "N"),
            "COUNT_SEND_DENY": count(groups["STATUS"] == "D"),
            "COUNT_READ": count(groups["IS_READ"] == "Y"),
            "COUNT_CLICK": count(groups["IS_CLICK"] == "Y"),
            "COUNT_UNSUB": count(groups["IS_UNSUB"] == "Y"),
            "CONSENT_SUPPORT": yes_no((postings["posting"] == _asking_posting(postings)).to_numpy()),
        }
    )
