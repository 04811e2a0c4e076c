"""Webhooks as Mailchimp, Mandrill, UniSender and SendPulse send them, signed by the book and not by our own code."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

URL = "https://hooks.example.com/inbox"
TOKEN = "an-unguessable-token-of-some-length"
SECRETS = {"mailchimp/marketing": "mc-secret", "mailchimp/transactional": "md-key", "unisender/marketing": "us-key"}
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Hook:
    """A request below the public URL."""

    address: str
    """`<connection id>/<kind>`."""
    body: bytes
    headers: Mapping[str, str]
    token: str = TOKEN

    @property
    def path(self) -> str:
        """What is requested."""
        return f"/{self.address}/{self.token}"

    def raw(self) -> bytes:
        """The request as it goes over the wire."""
        headers = {"Host": "inbox", "Content-Length": str(len(self.body)), **self.headers}
        lines = [f"POST {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def accounts() -> str:
    """LETTERTRAIL_INBOX_ACCOUNTS for these."""
    found: dict[str, dict[str, object]] = {}
    for address, secret in SECRETS.items():
        account, kind = address.split("/")
        entry = found.setdefault(account, {"token": TOKEN, "secrets": {}})
        secrets = entry["secrets"]
        assert isinstance(secrets, dict)
        secrets[kind] = [secret]
    return json.dumps(found)


def mailchimp(number: int, *, unix: int, secret: str = SECRETS["mailchimp/marketing"]) -> Hook:
    """An unsubscription."""
    fields = {
        "type": "unsubscribe", "fired_at": "2026-11-21 10:00:00", "data[action]": "unsub", "data[reason]": "manual",
        "data[id]": f"{number:010x}", "data[list_id]": "a6b5da1054", "data[email]": f"person{number}@example.com",
        "data[email_type]": "html", "data[campaign_id]": "cb398d21d2", "data[web_id]": str(number),
        "data[merges][EMAIL]": f"person{number}@example.com", "data[merges][FNAME]": "Анна",
    }  # fmt: skip
    return signed_mailchimp(urlencode(fields).encode(), unix=unix, secret=secret)


def signed_mailchimp(body: bytes, *, unix: int, secret: str = SECRETS["mailchimp/marketing"]) -> Hook:
    """Any body with Mailchimp's signature."""
    mac = hmac.new(secret.encode(), f"{unix}.".encode() + body, hashlib.sha256).hexdigest()
    headers = {"Content-Type": FORM, "X-Mailchimp-Signature": f"t={unix},v1={mac}"}
    return Hook("mailchimp/marketing", body, headers)


def mandrill(number: int, *, unix: int, secret: str = SECRETS["mailchimp/transactional"]) -> Hook:
    """A hard bounce and a click."""
    events = [
        {"event": event, "ts": unix, "_id": f"{number:032x}",
         "msg": {"_id": f"{number:032x}", "ts": unix, "email": f"person{number}@example.com", "state": "sent"}, **more}
        for event, more in (("hard_bounce", {}), ("click", {"url": "https://shop.example/a?b=1&c=[2]"}))
    ]  # fmt: skip
    return signed_mandrill(json.dumps(events), secret=secret)


def signed_mandrill(events: str, *, secret: str = SECRETS["mailchimp/transactional"], url: str = URL) -> Hook:
    """Any text in Mandrill's one field, with its signature."""
    hook = Hook("mailchimp/transactional", urlencode({"mandrill_events": events}).encode(), {})
    mac = hmac.new(secret.encode(), f"{url}{hook.path}mandrill_events{events}".encode(), hashlib.sha1).digest()
    signature = base64.b64encode(mac).decode()
    return replace(hook, headers={"Content-Type": FORM, "X-Mandrill-Signature": signature})


def unisender(number: int, *, unix: int, secret: str = SECRETS["unisender/marketing"]) -> Hook:
    """A change of a letter's status, slashes escaped as PHP does it."""
    data = {
        "email": f"person{number}@example.com", "status": "ok_read", "campaign_id": unix,
        "url": "https:\\/\\/a.example",
    }  # fmt: skip
    events = [{"event_name": "email_status", "event_time": "2026-11-21 10:00:00", "event_data": data}]
    body = {"auth": secret, "num": number, "events_by_user": [{"Login": "shop", "Events": events}]}
    return signed_unisender(json.dumps(body, separators=(",", ":")).encode(), secret=secret)


def signed_unisender(body: bytes, *, secret: str = SECRETS["unisender/marketing"]) -> Hook:
    """A body that holds the key as the value of `auth`, the first time it holds it: its MD5 takes the key's place."""
    digest = hashlib.md5(body).hexdigest().encode()
    signed = body.replace(b'"auth":"' + secret.encode(), b'"auth":"' + digest, 1)
    return Hook("unisender/marketing", signed, {"Content-Type": "application/json"})


MAKERS: Mapping[str, Callable[..., Hook]] = {"mailchimp": mailchimp, "mandrill": mandrill, "unisender": unisender}
