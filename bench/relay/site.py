"""Requests as the handler on a Bitrix site sends them, signed by the contract and not by our own code."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any

from bench.inbox.letters import TOKEN, Hook

ACCOUNT = "bitrix_site"
SECRET = "the-site's-secret"
SENDER = "Shop <shop@sandbox.example>"


def accounts(**more: object) -> dict[str, object]:
    """LETTERTRAIL_INBOX_ACCOUNTS for it, letters included."""
    return {ACCOUNT: {"token": TOKEN, "secrets": {"site": [SECRET]}, "relay": True, "sender": SENDER, **more}}


def told(events: Sequence[dict[str, Any]], *, unix: int, secret: str = SECRET) -> Hook:
    """One request."""
    return signed(json.dumps({"events": list(events)}, ensure_ascii=False).encode(), unix=unix, secret=secret)


def signed(body: bytes, *, unix: int, secret: str = SECRET) -> Hook:
    """Any body with the handler's signature."""
    mac = hmac.new(secret.encode(), f"{unix}.".encode() + body, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "X-LetterTrail-Time": str(unix),
        "X-LetterTrail-Signature": mac,
    }
    return Hook(f"{ACCOUNT}/site", body, headers)


def event(number: object, kind: str, **data: object) -> dict[str, Any]:
    """Any event of the site."""
    return {"id": f"s1-{number}", "type": kind, "at": "2026-11-21T09:59:58+00:00", "data": data}


def mail(number: object, **data: object) -> dict[str, Any]:
    """An order confirmation."""
    given = {
        "event_name": "SALE_NEW_ORDER",
        "message_id": 17,
        "site_id": "s1",
        "language": "ru",
        "to": f"person{number}@example.com",
        "from": "Магазин <orders@sandbox.example>",
        "subject": f"Заказ {number} принят",
        "body": f"<p>Спасибо! Ваш заказ: <a href='https://shop.example/o?n={number}'>{number}</a></p>",
        "body_type": "html",
        "fields": {"ORDER_ID": str(number), "EMAIL": f"person{number}@example.com"},
        "duplicate": True,
    }
    return event(f"mail-{number}", "mail", **{**given, **data})
