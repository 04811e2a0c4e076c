"""Faults hit exactly the requests they were ordered for, and the journal says so."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from lettertrail.sandbox.faults import Faults
from lettertrail.sandbox.journal import Journal, Journaled
from lettertrail.sandbox.server import served

KEY = "the-key"


class Counter:
    """A service that counts what it was asked to do."""

    def __init__(self) -> None:
        self.done = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()
        self.done += 1
        await JSONResponse({"done": self.done, "padding": "x" * 400}, 201)(scope, receive, send)


class Service:
    """The counter behind faults and a journal, and short ways to order and to look."""

    def __init__(self, base: str, counter: Counter, log: Path) -> None:
        self.base, self.counter, self.log = base, counter, log

    def order(self, **fault: Any) -> requests.Response:
        return requests.post(f"{self.base}/_sandbox/faults", json=fault, auth=("any", KEY), timeout=10)

    def ask(self, path: str = "/thing", method: str = "POST") -> requests.Response:
        return requests.request(method, f"{self.base}{path}", json={"a": 1}, timeout=10)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A running service."""
    counter, log = Counter(), tmp_path / "requests.jsonl"
    app = Journaled(
        Faults(counter, key=KEY),
        Journal(log),
        service="test",
        is_write=lambda method, path, body: method == "POST",
        mask=lambda path: path.replace("secret", "***"),
    )
    with served(app) as base:
        yield Service(base, counter, log)


def test_a_refusal_has_no_body_and_the_service_is_not_asked(service: Service) -> None:
    """The next two requests get a bare 429, the third goes through."""
    service.order(kind="refuse", status=429, times=2)
    answers = [service.ask() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 201]
    assert answers[0].content == b""
    assert service.counter.done == 1
    assert [line["status"] for line in service.lines()] == [429, 429, 201]
    assert service.lines()[0]["fault"] == "refuse"
    assert service.lines()[0]["body"] == {"a": 1}


def test_method_path_and_skip_choose_the_request(service: Service) -> None:
    """Only the second POST below /lists is hit."""
    service.order(kind="refuse", status=500, body="broken", method="POST", path="^/lists", skip=1)
    assert service.ask("/other").status_code == 201
    assert service.ask("/lists", "GET").status_code == 201
    assert service.ask("/lists").status_code == 201
    hit = service.ask("/lists/1")
    assert (hit.status_code, hit.text) == (500, "broken")
    assert service.ask("/lists").status_code == 201


def test_keys_among_the_parameters_are_not_in_the_journal(service: Service) -> None:
    """Some services want the key in the form or in the JSON: the file of requests must not hold it."""
    requests.post(f"{service.base}/a", data={"list_id": "7", "api_key": "s3cret"}, timeout=10)
    requests.post(f"{service.base}/a?api_key=s3cret", json={"key": "s3cret", "email": "a@example.com"}, timeout=10)
    assert [line["body"] for line in service.lines()] == [
        "list_id=7&api_key=***",
        {"key": "***", "email": "a@example.com"},
    ]
    assert "s3cret" not in service.log.read_text(encoding="utf-8")


def test_a_dropped_answer_leaves_the_work_done(service: Service) -> None:
    """The caller sees a cut connection, the service has acted, the journal tells both."""
    service.order(kind="drop_after_write")
    with pytest.raises(requests.ConnectionError):
        service.ask("/secret/x")
    assert service.counter.done == 1
    line = service.lines()[0]
    assert (line["status"], line["performed"], line["fault"]) == (None, 201, "drop_after_write")
    assert line["path"] == "/***/x"


def test_a_dropped_request_is_not_carried_out(service: Service) -> None:
    """The connection goes before the service hears of it."""
    service.order(kind="drop_before")
    with pytest.raises(requests.ConnectionError):
        service.ask()
    assert service.counter.done == 0
    assert service.ask().status_code == 201


def test_a_truncated_answer_is_no_json(service: Service) -> None:
    """Half the body with a length that fits it."""
    service.order(kind="truncate")
    answer = service.ask()
    assert answer.status_code == 201
    with pytest.raises(requests.exceptions.JSONDecodeError):
        answer.json()
    assert service.ask().json()["done"] == 2


def test_a_slow_answer_is_whole(service: Service) -> None:
    """It waits and drips, and still is the right answer."""
    service.order(kind="slow", seconds=0.2)
    began = time.monotonic()
    assert service.ask().json()["done"] == 1
    assert time.monotonic() - began >= 0.3


def test_a_dripping_answer_begins_at_once_and_takes_its_time(service: Service) -> None:
    """Were it to wait first, a limit on the wait for the next byte would catch it, and the fault would be no fault."""
    service.order(kind="slow_drip", seconds=0.6)
    began = time.monotonic()
    answer = requests.post(f"{service.base}/thing", json={}, timeout=0.3, stream=True)
    first = next(answer.iter_content(1))
    assert time.monotonic() - began < 0.3
    assert json.loads(first + answer.content)["done"] == 1
    assert time.monotonic() - began >= 0.6


def test_orders_are_listed_and_forgotten(service: Service) -> None:
    """GET shows what waits, DELETE clears it; neither is in the journal."""
    service.order(kind="refuse", status=503)
    url = f"{service.base}/_sandbox/faults"
    waiting = requests.get(url, headers={"Authorization": f"Bearer {KEY}"}, timeout=10).json()["faults"]
    assert [(fault["kind"], fault["status"], fault["times"]) for fault in waiting] == [("refuse", 503, 1)]
    assert requests.delete(url, auth=("x", KEY), timeout=10).json() == {"faults": []}
    assert service.ask().status_code == 201
    assert [line["path"] for line in service.lines()] == ["/thing"]


@pytest.mark.parametrize(
    "fault", [{"kind": "explode"}, {"kind": "refuse", "path": "("}, {"kind": "slow", "seconds": "long"}, {}]
)
def test_unusable_orders_are_refused(service: Service, fault: dict[str, Any]) -> None:
    """An unknown kind, a bad pattern, a word for a number."""
    assert service.order(**fault).status_code == 400
    assert service.ask().status_code == 201


def test_only_the_key_may_order(service: Service) -> None:
    """Without the key nothing is ordered and nothing is shown."""
    url = f"{service.base}/_sandbox/faults"
    assert requests.post(url, json={"kind": "refuse"}, timeout=10).status_code == 401
    assert requests.get(url, auth=("x", "wrong"), timeout=10).status_code == 401
    assert service.ask().status_code == 201
