"""A world of eight people and two Mailchimp letters, made by hand so that every count is known; and a site to match."""

from __future__ import annotations

import socket
from datetime import date
from types import SimpleNamespace
from typing import Any

import pandas as pd

KEY = "0123456789abcdef0123456789abcdef-us1"
SECRET = "wh00ksecret"
LIST = "a1b2c3d4e5"
FIRST = f"{71:010x}"
SECOND = f"{72:010x}"


def at(text: str) -> pd.Timestamp:
    """An aware UTC time."""
    return pd.Timestamp(text, tz="UTC")


def small_world() -> Any:
    """1, 3 and 8 are subscribed, 2 complained, 4 left, 5 is cleaned; 6 and 7 are not in Mailchimp."""
    people = pd.DataFrame(
        {
            "person": range(1, 9),
            "email": [f"person{n}@example.com" for n in range(1, 9)],
            "email_as_typed": ["Person1@Example.com", *(f"person{n}@example.com" for n in range(2, 9))],
            "former_email": [pd.NA] * 7 + ["old8@example.com"],
            "first_name": ["Анна", "Boris", "Vera", "Gleb", "Dina", "Egor", "Zoya", "Ivan"],
            "last_name": [f"Last{n}" for n in range(1, 9)],
            "created_at": [at(f"2026-01-0{n} 10:00:00") for n in range(1, 9)],
            "on_mailchimp": [True] * 5 + [False, False, True],
            "mailchimp_status": ["subscribed"] * 3 + ["unsubscribed", "cleaned", pd.NA, pd.NA, "subscribed"],
            "mailchimp_changed_at": [pd.NaT, pd.NaT, pd.NaT, at("2026-03-01 12:00:00"), at("2026-03-01 09:10:00")]
            + [pd.NaT] * 3,
            "birthday": [date(1990, 5, 17), *[pd.NaT] * 7],
        }
    )
    letters = pd.DataFrame(
        {
            "letter": [1, 71, 72],
            "channel": ["bitrix", "mailchimp", "mailchimp"],
            "title": ["Bitrix one", "Spring", "Summer"],
            "subject": ["b", "Spring is here", "Лето 🌞"],
            "utm_campaign": ["b", "spring", pd.NA],
            "utm_content": [pd.NA] * 3,
            "sent_at": [at("2026-02-01 09:00"), at("2026-03-01 09:00"), at("2026-06-01 09:00")],
            "urls": [["https://shop.example/b"], ["https://shop.example/a", "https://shop.example/c"], []],
        }
    )
    sends = pd.DataFrame(
        [
            (1, 1, 1, "person1@example.com", at("2026-02-01 09:00"), "delivered"),
            (2, 71, 1, "person1@example.com", at("2026-03-01 09:00"), "delivered"),
            (3, 71, 2, "person2@example.com", at("2026-03-01 09:00"), "delivered"),
            (4, 71, 3, "person3@example.com", at("2026-03-01 09:00"), "soft_bounce"),
            (5, 71, 4, "person4@example.com", at("2026-03-01 09:00"), "delivered"),
            (6, 71, 5, "person5@example.com", at("2026-03-01 09:00"), "hard_bounce"),
            (7, 71, 8, "old8@example.com", at("2026-03-01 09:00"), "delivered"),
            (8, 72, 1, "person1@example.com", at("2026-06-01 09:00"), "delivered"),
            (9, 72, 2, "person2@example.com", at("2026-06-01 09:00"), "delivered"),
        ],
        columns=["send", "letter", "person", "email", "sent_at", "outcome"],
    )
    sends["bounced_at"] = sends["sent_at"].where(sends["outcome"] != "delivered") + pd.Timedelta(minutes=10)
    events = pd.DataFrame(
        [
            (1, 1, "open", at("2026-02-01 10:00"), pd.NA, "human"),
            (2, 2, "open", at("2026-03-01 09:00:20"), pd.NA, "apple_proxy"),
            (3, 2, "open", at("2026-03-01 12:00"), pd.NA, "human"),
            (4, 3, "open", at("2026-03-01 09:00:10"), pd.NA, "apple_proxy"),
            (5, 2, "click", at("2026-03-01 12:01"), "https://shop.example/a", "human"),
            (6, 2, "click", at("2026-03-02 12:01"), "https://shop.example/a", "human"),
            (7, 7, "click", at("2026-03-01 09:00:05"), "https://shop.example/a", "scanner"),
            (8, 7, "click", at("2026-03-01 09:00:06"), "https://shop.example/c", "scanner"),
            (9, 7, "open", at("2026-03-01 09:00:04"), pd.NA, "scanner"),
            (10, 5, "unsubscribe", at("2026-03-01 12:00"), pd.NA, "human"),
            (11, 9, "complaint", at("2026-06-01 15:00"), pd.NA, "human"),
        ],
        columns=["event", "send", "kind", "occurred_at", "url", "actor"],
    )
    return SimpleNamespace(
        seed=7, scale=0.001, as_of=date(2026, 11, 1), people=people, letters=letters, sends=sends, events=events
    )


def kept_port() -> socket.socket:
    """A port that is ours until this socket is closed: only who reuses addresses, as servers do, may listen there."""
    keeper = socket.socket()
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    keeper.bind(("127.0.0.1", 0))
    return keeper
