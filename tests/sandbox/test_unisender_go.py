"""The UniSender Go sandbox answers as the reference says (esp_apis.md section 5)."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from tests.sandbox.small import small_world

from lettertrail.sandbox.esps.unisender_go import (
    UnisenderGoStore,
    asks_for_change,
    create_app,
    handshake,
    hook_requests,
    last_event,
    seed_unisender_go,
)
from lettertrail.sandbox.hooks import HookRequest
from lettertrail.sandbox.server import served

KEY = "unisendergokey0123"
LETTER = {"subject": "Receipt", "from_email": "shop@sandbox.example", "body": {"html": "<p>Thanks</p>"}}


class Project:
    """A running service, its clock, and short ways to call it."""

    def __init__(self, base: str, store: UnisenderGoStore, clock: SimpleNamespace, asked: list[HookRequest]) -> None:
        self.base, self.store, self.clock, self.asked = base, store, clock, asked

    def post(self, method: str, *, key: str = KEY, **body: Any) -> tuple[int, Any]:
        url = f"{self.base}/ru/transactional/api/v1/{method}.json"
        answer = requests.post(url, json=body, headers={"X-API-KEY": key}, timeout=10)
        return answer.status_code, answer.json()

    def result(self, method: str, **body: Any) -> Any:
        status, answer = self.post(method, **body)
        assert (status, answer.get("status")) == (200, "success"), answer
        return answer

    def code(self, method: str, **body: Any) -> tuple[int, int]:
        status, answer = self.post(method, **body)
        assert answer["status"] == "error"
        return status, answer["code"]

    def send(self, *emails: str, **more: Any) -> tuple[int, Any]:
        return self.post("email/send", message=LETTER | {"recipients": [{"email": e} for e in emails]} | more)

    def dump(self, **wanted: Any) -> list[bytes]:
        number = self.result("event-dump/create", **wanted)["dump_id"]
        self.store.finish_jobs()
        files = self.result("event-dump/get", dump_id=number)["event_dump"]["files"]
        return [requests.get(file["url"], timeout=10).content for file in files]


@pytest.fixture
def project() -> Iterator[Project]:
    """The small world with its letters, 19 days after the first; receivers named `deaf` refuse the handshake."""
    clock = SimpleNamespace(now=datetime(2026, 3, 20, tzinfo=UTC), ticks=0.0)
    store = UnisenderGoStore(":memory:", clock=lambda: clock.now)
    seed_unisender_go(small_world(), store, letters=(71, 72))
    asked: list[HookRequest] = []

    def post(request: HookRequest) -> int:
        asked.append(request)
        return 500 if "deaf" in request.url else 200

    app = create_app(store, api_key=KEY, post=post, monotonic=lambda: clock.ticks)
    with served(app) as base:
        yield Project(base, store, clock, asked)
    app.close()
    store.close()


def rows(content: bytes) -> list[dict[str, str]]:
    """A CSV file by column."""
    return list(csv.DictReader(io.StringIO(content.decode())))


def test_errors_have_a_status_and_a_code(project: Project) -> None:
    """Each is another thing to do for a client."""
    assert project.code("suppression/list", key="wrong") == (401, 102)
    assert project.code("suppression/list", key="") == (401, 101)
    assert project.code("no/thing") == (404, 103)
    assert project.post("suppression/list", key="", api_key=KEY)[0] == 200
    url = f"{project.base}/ru/transactional/api/v1/suppression/list.json"
    answer = requests.post(url, data="{", headers={"X-API-KEY": KEY}, timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (400, 111)


def test_a_flood_is_refused_and_counted(project: Project) -> None:
    """429 with a code of its own."""
    for _ in range(300):
        project.result("webhook/list")
    assert project.code("webhook/list") == (429, 901)
    assert requests.get(f"{project.base}/_sandbox/limits", timeout=10).json()["violations"] == 1


@pytest.mark.parametrize(
    ("method", "expected"),
    [("email/send", True), ("suppression/set", True), ("suppression/list", False), ("event-dump/create", False)],
)
def test_writing_is_told_from_reading(method: str, expected: bool) -> None:
    """Everything is a POST here, so the name decides."""
    assert asks_for_change("POST", f"/ru/transactional/api/v1/{method}.json", None) is expected


def test_refused_recipients_are_told_in_the_answer_alone(project: Project) -> None:
    """A success with refusals in it; no webhook will ever tell of them."""
    begin = last_event(project.store)
    status, answer = project.send(
        "ok@example.com", "OK@example.com", "person4@example.com", "person5@example.com", "no"
    )
    assert (status, answer["emails"]) == (200, ["ok@example.com"])
    assert answer["failed_emails"] == {
        "OK@example.com": "duplicate",
        "person4@example.com": "unsubscribed",
        "person5@example.com": "permanent_unavailable",
        "no": "invalid",
    }
    told = project.store.rows("select distinct email from events where number > ?", begin)
    assert [row["email"] for row in told] == ["ok@example.com"]


def test_when_all_are_refused_the_call_is(project: Project) -> None:
    """400 with code 204, and still a reason for each."""
    status, answer = project.send("person4@example.com")
    assert (status, answer["code"], answer["failed_emails"]) == (400, 204, {"person4@example.com": "unsubscribed"})


def test_a_letter_is_checked(project: Project) -> None:
    """Too many recipients or tags, no body, a time too far ahead."""
    assert project.send(*(f"m{n}@example.com" for n in range(501)))[0] == 400
    assert project.send("a@example.com", tags=list("abcde"))[0] == 400
    assert project.send("a@example.com", body={})[0] == 400
    assert project.send("a@example.com", options={"send_at": "2026-03-22 00:00:00"})[0] == 400
    assert project.send("a@example.com", options={"send_at": "2026-03-20 12:00:00"})[0] == 200


def test_an_idempotence_key_guards_for_one_minute(project: Project) -> None:
    """After that the same key mails again: it is no lasting guard."""
    assert project.send("a@example.com", idempotence_key="k")[0] == 200
    assert project.send("a@example.com", idempotence_key="k")[1]["code"] == 1573
    project.clock.now += timedelta(seconds=61)
    assert project.send("a@example.com", idempotence_key="k")[0] == 200
    assert project.send("a@example.com", idempotence_key="k" * 65)[1]["code"] == 1572


def test_only_some_headers_are_kept(project: Project) -> None:
    """List-Unsubscribe needs support's approval; without it it is dropped without a word."""
    headers = {"X-Own": "1", "List-Unsubscribe": "<https://x.example>", "Reply-To": "a@example.com"}
    job = project.send("a@example.com", headers=headers)[1]["job_id"]
    kept = project.store.row("select headers from jobs where job_id = ?", job)
    assert kept is not None
    assert json.loads(kept["headers"]) == {"X-Own": "1"}


def test_suppressions_are_paged_by_a_cursor(project: Project) -> None:
    """Each once, an empty cursor at the end."""
    project.store.enrol([f"s{n}@example.com" for n in range(4)])
    seen, cursor = [], ""
    for _ in range(10):
        page = project.result("suppression/list", limit=2, cursor=cursor)
        seen += [row["email"] for row in page["suppressions"]]
        cursor = page["cursor"]
        if not cursor:
            break
    assert len(seen) == len(set(seen)) == project.store.people() == 7
    assert len(project.result("suppression/list", cause="complained")["suppressions"]) == 1
    assert project.code("suppression/list", cursor="garbage")[0] == 400


def test_only_some_suppressions_can_be_taken_back(project: Project) -> None:
    """What the person wished stays, whatever is set over it."""
    email = "person4@example.com"
    project.result("suppression/set", email=email, cause="temporary_unavailable")
    (found,) = project.result("suppression/get", email=email)["suppressions"]
    assert (found["cause"], found["source"], found["is_deletable"]) == ("unsubscribed", "subscriber", False)
    assert project.code("suppression/delete", email=email) == (400, 3004)
    project.result("suppression/set", email="own@example.com", cause="unsubscribed")
    project.result("suppression/delete", email="own@example.com")
    assert project.result("suppression/get", email="own@example.com")["suppressions"] == []
    assert project.code("suppression/delete", email="own@example.com") == (400, 3003)
    assert project.code("suppression/set", email="own@example.com", cause="blocked")[0] == 400


def test_a_dump_passes_through_its_states(project: Project) -> None:
    """The files are there when it is ready and not before; ten dumps at once and no more."""
    number = project.result("event-dump/create", start_time="2026-02-01 00:00:00")["dump_id"]
    polled = [project.result("event-dump/get", dump_id=number)["event_dump"] for _ in range(3)]
    assert [found["dump_status"] for found in polled] == ["in_process", "ready", "ready"]
    assert (polled[0]["files"], len(polled[1]["files"])) == ([], 1)
    for _ in range(9):
        project.result("event-dump/create", start_time="2026-02-01 00:00:00")
    assert project.code("event-dump/create", start_time="2026-02-01 00:00:00") == (400, 3309)
    project.result("event-dump/delete", dump_id=number)
    assert len(project.result("event-dump/list")["event_dumps"]) == 9
    assert project.code("event-dump/get", dump_id=number)[0] == 404


def test_a_dump_holds_the_asked_events_in_several_files(project: Project) -> None:
    """Counted by hand: four opens of the first letter; the file's size is small for the test."""
    project.store.rows_per_file = 3
    asked = {"filter": {"status": "opened", "campaign_id": "71"}, "dump_fields": ["email", "event_time", "metadata"]}
    parts = project.dump(start_time="2026-03-01 00:00:00", end_time="2026-03-02 00:00:00", **asked)
    assert [len(rows(part)) for part in parts] == [3, 1]
    first = {"email": "old8@example.com", "event_time": "2026-03-01 09:00:04", "metadata": '{"campaign_id":"71"}'}
    assert rows(parts[0])[0] == first
    (packed,) = project.dump(start_time="2026-02-01", format="csv_gzip", filter={"status": "spam", "domain": "x.y"})
    assert rows(gzip.decompress(packed)) == []


def test_events_are_kept_for_32_days(project: Project) -> None:
    """What is older is gone, however early the window begins."""
    assert len(rows(project.dump(start_time="2026-01-01")[0])) > 0
    project.clock.now = datetime(2026, 4, 20, tzinfo=UTC)
    assert {row["event_time"][:7] for row in rows(project.dump(start_time="2026-01-01", limit=1)[0])} == {"2026-06"}


@pytest.mark.parametrize("more", [{}, {"single_event": 1}, {"event_format": "json_post_gzip"}])
def test_webhooks_are_signed_over_the_raw_body(project: Project, more: dict[str, Any]) -> None:
    """The MD5 of the very bytes with the key in the place of `auth`, in every form of delivery."""
    project.result("webhook/set", url="https://in.example/g", events={"email_status": ["*"]}, delivery_info=1, **more)
    assert project.asked == [handshake("https://in.example/g")]
    begin = last_event(project.store)
    job = project.store.happen("person1@example.com", "clicked", "71", url="https://shop.example/a", ip="192.0.2.1")
    project.store.happen("person1@example.com", "unsubscribed", job_id=job)
    requests_ = hook_requests(project.store, api_key=KEY, since=begin)
    assert len(requests_) == (2 if more.get("single_event") else 1)
    raw = requests_[0].body
    if more.get("event_format"):
        raw = gzip.decompress(raw)
    body = json.loads(raw)
    assert body["auth"] == hashlib.md5(raw.replace(body["auth"].encode(), KEY.encode())).hexdigest()
    event = body if more.get("single_event") else body["events_by_user"][0]["events"][0]
    assert event["event_name"] == "transactional_email_status"
    data = event if more.get("single_event") else event["event_data"]
    assert (data["status"], data["url"], data["delivery_info"]["ip"]) == (
        "clicked",
        "https://shop.example/a",
        "192.0.2.1",
    )
    assert project.store.status_of("person1@example.com") == "unsubscribed"


def test_a_receiver_that_does_not_answer_is_refused(project: Project) -> None:
    """An active webhook needs its handshake; a disabled one is not asked."""
    events = {"email_status": ["opened"]}
    assert project.code("webhook/set", url="https://deaf.example/", events=events)[0] == 400
    project.result("webhook/set", url="https://deaf.example/", events=events, status="disabled")
    assert len(project.asked) == 1
    assert hook_requests(project.store, api_key=KEY) == []
    assert project.result("webhook/get", url="https://deaf.example/")["object"]["status"] == "disabled"
    project.result("webhook/delete", url="https://deaf.example/")
    assert project.code("webhook/set", url="https://in.example/", events={"email_status": ["shut"]})[0] == 400


def test_an_old_letter_alone_comes_from_a_whole_world() -> None:
    """The sample world must earn no credit from here."""
    store = UnisenderGoStore(":memory:")
    assert seed_unisender_go(small_world(), store)
    assert store.number("select count(*) from events where status <> 'delivered'") == 0
    assert not seed_unisender_go(small_world(), store)
