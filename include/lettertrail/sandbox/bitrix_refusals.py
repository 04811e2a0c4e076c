"""Addresses of the sample site's sender module, and everything that says an address must not be mailed (bitrix.md 1.4).

Columns of the frames are named like the Bitrix columns.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lettertrail.sandbox.bitrix_rows import encode_emoji, local, yes_no
from lettertrail.sandbox.world import World
from lettertrail.sandbox.world_letters import BITRIX_LETTERS

EMPLOYEES = tuple(f"manager{number}@shop.example" for number in range(1, 12))
"""Test recipients; `b_sender_contact.ID` and `b_user.ID` − 1 in this order."""
SHARE_EARLY_CONSENT = 0.15

Ids = NDArray[np.int64]
Moments = NDArray[np.datetime64]


def contact_frames(
    world: World,
    rng: np.random.Generator,
    *,
    sends: pd.DataFrame,
    postings: pd.DataFrame,
    emails: pd.Index,
    recipients: pd.DataFrame,
    user_of_person: Ids,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    seen = pd.concat(
        [
            sends[["email", "person", "sent_at"]],
            world.queued[["email", "person"]].assign(sent_at=world.ended_at - pd.Timedelta(hours=3)),
        ]
    ).groupby("email", sort=False)
    first = seen["sent_at"].min().reindex(emails).fillna(world.started_at)
    last = seen["sent_at"].max().reindex(emails).fillna(world.started_at)
    person = seen["person"].first().reindex(emails).fillna(0).to_numpy(np.int64)
    inserted = local(first) - np.timedelta64(300, "s")
    names = np.array(["Сотрудник", *map(encode_emoji, world.people["first_name"])], dtype=object)
    users = user_of_person[person]
    users[: len(EMPLOYEES)] = np.arange(2, len(EMPLOYEES) + 2)
    contacts = pd.DataFrame(
        {
            "ID": np.arange(1, len(emails) + 1),
            "DATE_INSERT": inserted,
            "DATE_UPDATE": inserted,
            "TYPE_ID": 1,
            "CODE": emails.to_numpy(object),
            "NAME": names[person],
            "USER_ID": pd.Series(users).astype("Int64").mask(users == 0),
            "BLACKLISTED": "N",
            "IS_READ": yes_no(np.isin(np.arange(1, len(emails) + 1), _who(recipients, "IS_READ"))),
            "IS_CLICK": yes_no(np.isin(np.arange(1, len(emails) + 1), _who(recipients, "IS_CLICK"))),
            "IS_UNSUB": "N",
            "CONSENT_STATUS": "N",
            "CONSENT_REQUEST": 0,
            "IP": None,
        }
    )
    consents = _answers(world, rng, contacts=contacts, last=local(last), sends=sends, postings=postings)
    return contacts, consents


def _who(recipients: pd.DataFrame, flag: str) -> Ids:
    return recipients["CONTACT_ID"].to_numpy()[(recipients[flag] == "Y").to_numpy()]


def _answers(
    world: World,
    rng: np.random.Generator,
    *,
    contacts: pd.DataFrame,
    last: Moments,
    sends: pd.DataFrame,
    postings: pd.DataFrame,
) -> pd.DataFrame:
    """Sets consent, refusal and blacklist flags in `contacts`; gives the accepted consents."""
    index = pd.Index(contacts["CODE"])
    posting_of = postings.set_index("dispatch")["posting"]
    first_posting = sends.drop_duplicates("email").set_index("email")["dispatch"].map(posting_of)
    complaints = _emails_of(world, "complaint")
    back = world.minds[world.minds["how"].isin(["consent", "consent_unflipped"])].drop_duplicates("email", keep="last")
    parts = [pd.DataFrame({"email": back["email"].to_numpy(), "at": local(back["at"])})]
    # Somebody who complained agreed to something later: the complaint must weigh more.
    forgiving = complaints[: max(1, len(complaints) // 10)]
    parts.append(
        pd.DataFrame(
            {"email": forgiving, "at": np.datetime64(world.ended_at.tz_convert(None) - pd.Timedelta(hours=30), "s")}
        )
    )
    early = rng.random(len(contacts)) < SHARE_EARLY_CONSENT
    early[: len(EMPLOYEES)] = False
    early &= ~index.isin(np.concatenate([part["email"].to_numpy(object) for part in parts]))
    parts.append(
        pd.DataFrame(
            {
                "email": index[early],
                "at": contacts["DATE_INSERT"].to_numpy("datetime64[s]")[early] + np.timedelta64(900, "s"),
            }
        )
    )
    consents = pd.concat(parts, ignore_index=True)
    consents["posting"] = consents["email"].map(first_posting).fillna(int(postings["posting"].max())).astype(np.int64)
    rows = index.get_indexer(consents["email"])
    contacts.loc[rows, "CONSENT_STATUS"] = "A"
    contacts.loc[rows, "CONSENT_REQUEST"] = 1
    contacts.loc[rows, "DATE_UPDATE"] = consents["at"].to_numpy()
    contacts.loc[index.isin(complaints), "BLACKLISTED"] = "Y"
    asked = contacts.index[5:7]  # the employees who play the recipients in status A
    contacts.loc[asked, "CONSENT_STATUS"] = "W"
    contacts.loc[asked, "CONSENT_REQUEST"] = 1

    quiet = _quiet(world, index, taken=consents["email"])
    chosen = rng.permutation(quiet)[: 2 * max(3, round(len(contacts) * 0.002))]
    denied, blacklisted = chosen[::2], chosen[1::2]
    later = np.minimum(
        last + np.timedelta64(86_400, "s"), local(pd.Series([world.ended_at]))[0] - np.timedelta64(60, "s")
    )
    contacts.loc[denied, ["CONSENT_STATUS", "IS_UNSUB"]] = ["D", "Y"]
    contacts.loc[denied, "CONSENT_REQUEST"] = 1
    contacts.loc[blacklisted, "BLACKLISTED"] = "Y"
    contacts.loc[chosen, "DATE_UPDATE"] = later[chosen]
    return consents


def _quiet(world: World, index: pd.Index, *, taken: pd.Series) -> Ids:
    """Addresses that did nothing special and are in no dispatch under way."""
    busy = set(taken) | set(world.queued["email"]) | set(world.minds["email"]) | set(EMPLOYEES)
    for kind in ("complaint", "unsubscribe"):
        busy |= set(_emails_of(world, kind))
    busy |= set(world.sends["email"][world.sends["outcome"] == "hard_bounce"])
    busy |= set(world.sends["email"][world.sends["letter"] == BITRIX_LETTERS])
    return np.flatnonzero(~index.isin(busy))


def _emails_of(world: World, kind: str) -> NDArray[np.object_]:
    sends = world.events["send"][world.events["kind"] == kind].to_numpy() - 1
    rows = world.sends.iloc[sends]
    return rows["email"][rows["letter"] <= BITRIX_LETTERS].unique().astype(object)


def subscription_frame(
    world: World, rng: np.random.Generator, *, sends: pd.DataFrame, emails: pd.Index, contacts: pd.DataFrame
) -> pd.DataFrame:
    """One row per campaign and address that ever decided; the flag is flipped in place, its date stays."""
    events = world.events[world.events["kind"] == "unsubscribe"]
    of_send = world.sends.merge(world.letters[["letter", "campaign"]], on="letter").sort_values("send")
    left = of_send.iloc[events["send"].to_numpy() - 1][["email", "campaign", "letter"]].assign(
        at=events["occurred_at"].to_numpy()
    )
    left = left[left["letter"] <= BITRIX_LETTERS]
    flips = world.minds[world.minds["how"] != "consent_unflipped"][["email", "campaign", "at"]]
    decisions = pd.concat(
        [left[["email", "campaign", "at"]].assign(flag="Y"), flips.assign(flag="N")], ignore_index=True
    ).sort_values("at", kind="stable")
    rows = (
        decisions.groupby(["campaign", "email"], sort=True).agg(at=("at", "first"), flag=("flag", "last")).reset_index()
    )
    rows = pd.DataFrame(
        {
            "MAILING_ID": rows["campaign"].to_numpy(np.int64),
            "CONTACT_ID": emails.get_indexer(pd.Index(rows["email"])) + 1,
            "DATE_INSERT": local(pd.to_datetime(rows["at"], utc=True)),
            "IS_UNSUB": rows["flag"].to_numpy(object),
        }
    )
    # People subscribe on a page; a few have that row beside the one of their unsubscribe: the flag is in the key.
    joined = np.flatnonzero(rng.random(len(contacts)) < 0.1)
    joined = joined[joined >= len(EMPLOYEES)]
    page = pd.DataFrame(
        {
            "MAILING_ID": 1,
            "CONTACT_ID": joined + 1,
            "DATE_INSERT": contacts["DATE_INSERT"].to_numpy("datetime64[s]")[joined],
            "IS_UNSUB": "N",
        }
    )
    return pd.concat([rows, page]).drop_duplicates(["MAILING_ID", "CONTACT_ID", "IS_UNSUB"]).reset_index(drop=True)


def abuse_frame(world: World, emails: pd.Index) -> pd.DataFrame:
    events = world.events[world.events["kind"] == "complaint"]
    sends = world.sends.iloc[events["send"].to_numpy() - 1]
    here = (sends["letter"] <= BITRIX_LETTERS).to_numpy()
    email = sends["email"].to_numpy(object)[here]
    texts = ("", "Я не подписывался", "Спам!", "Слишком часто")
    return pd.DataFrame(
        {
            "ID": np.arange(1, len(email) + 1),
            "TEXT": [texts[number % len(texts)] for number in range(len(email))],
            "CONTACT_ID": emails.get_indexer(pd.Index(email)) + 1,
            "CONTACT_TYPE_ID": 1,
            "CONTACT_CODE": [code.capitalize() if number % 5 == 0 else code for number, code in enumerate(email)],
            "DATE_INSERT": local(events["occurred_at"])[here],
        }
    )


def blacklist_frame(world: World, *, sends: pd.DataFrame, contacts: pd.DataFrame) -> pd.DataFrame:
    """Permanent bounces (category 0), and a few addresses that somebody entered by hand (category 1)."""
    bounced = sends[sends["outcome"] == "hard_bounce"].drop_duplicates("email")
    # Blacklisted by hand: the only ones whose DATE_UPDATE moved without an answer to a consent request.
    moved = (contacts["DATE_UPDATE"] > contacts["DATE_INSERT"]) & (contacts["CONSENT_STATUS"] == "N")
    by_hand = contacts[(contacts["BLACKLISTED"] == "Y") & moved].head(3)
    rows = pd.concat(
        [
            pd.DataFrame({"DATE_INSERT": local(bounced["bounced_at"]), "CATEGORY_ID": 0, "CODE": bounced["email"]}),
            pd.DataFrame(
                {
                    "DATE_INSERT": by_hand["DATE_UPDATE"].to_numpy("datetime64[s]"),
                    "CATEGORY_ID": 1,
                    "CODE": by_hand["CODE"],
                }
            ),
        ]
    )
    rows = rows.drop_duplicates("CODE").sort_values("DATE_INSERT", kind="stable").reset_index(drop=True)
    rows.insert(0, "ID", np.arange(1, len(rows) + 1))
    return rows
