"""The handler as it is installed on a site, and the real inbox it posts to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from lettertrail.inbox.accounts import read_webhooks
from lettertrail.inbox.app import create_app
from lettertrail.inbox.store import Incoming
from lettertrail.sandbox.faults import Faults
from lettertrail.sandbox.server import served
from lettertrail.settings import PROJECT_ROOT

HERE = Path(__file__).parent
TOKEN = "0123456789abcdef0123456789abcdef"
SECRET = "what the handler signs with"
FAULT_KEY = "faults"
ORDER = {
    "ID": "7",
    "EVENT_NAME": "SALE_NEW_ORDER",
    "LID": "s1",
    "LANGUAGE_ID": "ru",
    "EMAIL_FROM": "Shop <shop@shop.example>",
    "EMAIL_TO": "#EMAIL#",
    "SUBJECT": "Заказ №#ORDER_ID#",
    "MESSAGE": "<p>Спасибо, #NAME#!</p>",
    "BODY_TYPE": "html",
}


@dataclass
class Kept:
    """A store to look into."""

    deliveries: list[Incoming] = field(default_factory=list)

    async def put(self, delivery: Incoming) -> None:
        self.deliveries.append(delivery)

    async def close(self) -> None:
        """Nothing is open."""

    def is_well(self) -> bool:
        return True


class Inbox:
    """A running inbox with faults."""

    def __init__(self, base: str, kept: Kept) -> None:
        self.base = base
        self.url = f"{base}/bitrix_site/site/{TOKEN}"
        self._kept = kept

    def fault(self, kind: str, **how: Any) -> None:
        """See `lettertrail.sandbox.faults`."""
        order = {"kind": kind, **how}
        answer = requests.post(f"{self.base}/_sandbox/faults", json=order, auth=("any", FAULT_KEY), timeout=5)
        assert answer.ok, answer.text

    def events(self) -> list[dict[str, Any]]:
        """All that was stored, in order; what came twice is there twice."""
        return [event for one in self._kept.deliveries for event in json.loads(one.body)["events"]]

    def letters(self) -> list[Any]:
        """What went to the outbox."""
        return [letter for one in self._kept.deliveries for letter in one.letters]


class Handler:
    """A site with the handler in it; every `run` is a hit of its own."""

    def __init__(self, root: Path, url: str) -> None:
        self.root = root / "lettertrail"
        self.queue = root / "queue"
        self.store = root / "site.json"
        shutil.copytree(PROJECT_ROOT / "include" / "bitrix_site", self.root)
        self.configure(url=url)

    def configure(self, **given: Any) -> None:
        """Writes config.php."""
        config = {
            "secret": SECRET,
            "queue": str(self.queue),
            "mail": ["SALE_NEW_ORDER"],
            "connect_seconds": 0.5,
            "answer_seconds": 0.5,
        } | given
        text = json.dumps(config).replace("\\", "\\\\").replace("'", "\\'")
        (self.root / "config.php").write_text(f"<?php return json_decode('{text}', true);", encoding="utf-8")

    def keep(self, **tables: Any) -> None:
        """What the site's tables hold."""
        self.store.write_text(json.dumps(tables), encoding="utf-8")

    def site(self) -> dict[str, Any]:
        """What they hold now, and what the site sent by itself."""
        empty: dict[str, Any] = {"sent": [], "contacts": [], "agents": []}
        return empty | (json.loads(self.store.read_text(encoding="utf-8")) if self.store.exists() else {})

    def run(self, *steps: dict[str, Any], **environment: str) -> list[dict[str, Any]]:
        """Carries out steps in one PHP process; a warning of PHP is a failure."""
        php = shutil.which("php")
        assert php, "php is missing: scripts/bootstrap dev installs it (Debian package php-cli)"
        done = subprocess.run(
            [php, str(HERE / "run.php"), str(self.root), str(self.store)],
            input=json.dumps(steps),
            env={**os.environ, "TEMPLATES": json.dumps([ORDER]), **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        assert "PHP:" not in done.stderr, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[0])
        return found

    def waiting(self) -> list[dict[str, Any]]:
        """What is in the queue, oldest first."""
        return [
            json.loads(path.read_text(encoding="utf-8").partition("\n")[2]) for path in sorted(self.queue.glob("*.php"))
        ]

    def later(self, seconds: int) -> None:
        """Lets time go by for what waits."""
        (self.queue / "rests-until").unlink(missing_ok=True)
        for path in self.queue.glob("*.php"):
            guard, _, text = path.read_text(encoding="utf-8").partition("\n")
            entry = json.loads(text)
            entry["queued_at"] -= seconds
            path.write_text(f"{guard}\n{json.dumps(entry)}", encoding="utf-8")


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    """The real application, on a real port."""
    kept = Kept()
    accounts = {
        "bitrix_site": {"token": TOKEN, "secrets": {"site": [SECRET]}, "relay": True, "sender": "shop@shop.example"}
    }
    environ = {
        "LETTERTRAIL_INBOX_ACCOUNTS": json.dumps(accounts),
        "LETTERTRAIL_INBOX_URL": "https://inbox.example.com",
    }
    with served(Faults(create_app(kept, read_webhooks(environ)), key=FAULT_KEY)) as base:
        yield Inbox(base, kept)


@pytest.fixture
def handler(tmp_path: Path, inbox: Inbox) -> Handler:
    """A site that tells everything and hands over its order letters."""
    return Handler(tmp_path, inbox.url)
