"""Short ways to call a running Mailchimp or Bitrix sandbox, and what is the same in all their tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import requests
from tests.sandbox.small import KEY, LIST, SECRET

from lettertrail.sandbox.esps.mailchimp import MailchimpStore, subscriber_hash
from lettertrail.sandbox.mariadb import connect

START = datetime(2026, 11, 1, tzinfo=UTC)
MOSCOW = ZoneInfo("Europe/Moscow")
CONTACTS = 120
FLAG = "UF_CRM_EMAIL_MARKETING"


class Account:
    """A running service, its clock, and a short way to call it."""

    def __init__(self, base: str, store: MailchimpStore, clock: SimpleNamespace) -> None:
        self.base = f"{base}/3.0"
        self.store = store
        self.clock = clock
        self.session = requests.Session()
        self.session.auth = ("anybody", KEY)

    def __call__(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(method, f"{self.base}{path}", timeout=10, **options)

    def get(self, path: str, **params: Any) -> Any:
        answer = self("GET", path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def member(self, address: str) -> Any:
        return self.get(f"/lists/{LIST}/members/{subscriber_hash(address)}")

    def later(self, **delta: float) -> None:
        self.clock.now += timedelta(**delta)


def problem(answer: requests.Response) -> tuple[int, str]:
    """Status and title of an error answer of the right form."""
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert {"type", "title", "status", "detail", "instance"} <= set(body)
    assert body["status"] == answer.status_code
    return answer.status_code, body["title"]


class Portal:
    """A running webhook, its clock, and a connection to look into the tables."""

    def __init__(self, base: str, dsn: str, clock: SimpleNamespace) -> None:
        self.base = f"{base}/rest/1/{SECRET}"
        self.clock = clock
        self.dsn = dsn
        self.connection = connect(dsn)

    def post(self, method: str, params: Any = None) -> requests.Response:
        return requests.post(f"{self.base}/{method}", json=params or {}, timeout=10)

    def call(self, method: str, **params: Any) -> Any:
        answer = self.post(method, params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def result(self, method: str, **params: Any) -> Any:
        return self.call(method, **params)["result"]

    def batch(self, cmd: Any, halt: int = 0) -> Any:
        return self.result("batch", cmd=cmd, halt=halt)

    def rows(self, sql: str) -> list[Any]:
        self.connection.rollback()
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())


def error(answer: requests.Response) -> tuple[int, str]:
    """Status and code of an error answer."""
    body = answer.json()
    assert set(body) == {"error", "error_description"}
    return answer.status_code, body["error"]


def add_flag(portal: Portal) -> int:
    """Adds the marketing flag as our push would."""
    fields = {"FIELD_NAME": "EMAIL_MARKETING", "USER_TYPE_ID": "boolean", "LABEL": "May be mailed"}
    number = portal.result("crm.contact.userfield.add", fields=fields)
    assert isinstance(number, int)
    return number
