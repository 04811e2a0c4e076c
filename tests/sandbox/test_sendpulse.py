"""The SendPulse sandbox answers as the reference says: tokens, three shapes of errors, books, campaigns, opt-outs."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import requests
from tests.sandbox.services import START
from tests.sandbox.slot import Slot, serving
from tests.sandbox.small import small_world

from lettertrail.errors import ConfigurationError
from lettertrail.sandbox.esps.sendpulse import (
    BOOK,
    CAMPAIGNS,
    SendPulseStore,
    asks_for_change,
    create_app,
    seed_sendpulse,
    usual_limits,
)
from lettertrail.sandbox.limits import Limit
from lettertrail.sandbox.world import generate

CLIENT, SECRET, STATIC = "client", "secret", "static-key"
FIRST, SECOND = CAMPAIGNS[1], CAMPAIGNS[2]
LETTER = {
    "html": base64.b64encode(b"<b>Hello</b>").decode(),
    "subject": "Hello",
    "from": {"name": "Shop", "email": "shop@shop.example"},
    "to": [{"name": "Anna", "email": "anna@example.com"}],
}
CAMPAIGN = {
    "sender_name": "Shop",
    "sender_email": "news@shop.example",
    "subject": "News",
    "body": base64.b64encode(b"<b>News</b>").decode(),
    "list_id": BOOK,
}


class Account:
    """A running service, its clock, and a short way to call it."""

    def __init__(self, base: str, store: SendPulseStore, clock: SimpleNamespace) -> None:
        self.base = base
        self.store = store
        self.clock = clock
        self.header = f"Bearer {STATIC}"

    def __call__(self, method: str, path: str, **options: Any) -> requests.Response:
        return requests.request(
            method, f"{self.base}{path}", headers={"Authorization": self.header}, timeout=10, **options
        )

    def get(self, path: str, **params: Any) -> Any:
        answer = self("GET", path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, **body: Any) -> requests.Response:
        return self("POST", path, json=body)

    def add(self, *emails: Any, **options: Any) -> requests.Response:
        return self.post(f"/addressbooks/{BOOK}/emails", emails=list(emails), **options)

    def contact(self, email: str) -> Any:
        return self.get(f"/addressbooks/{BOOK}/emails/{email}")

    def token(self, **given: str) -> requests.Response:
        body = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": SECRET, **given}
        return requests.post(f"{self.base}/oauth/access_token", json=body, timeout=10)


@pytest.fixture(scope="module")
def slot() -> Iterator[Slot]:
    """The server of all these tests."""
    with serving() as slot:
        yield slot


@pytest.fixture
def limits() -> dict[str, Limit]:
    """None, unless a test says otherwise."""
    return {}


@pytest.fixture
def account(slot: Slot, limits: dict[str, Limit]) -> Iterator[Account]:
    """The small world behind a real socket."""
    clock = SimpleNamespace(now=START)
    store = SendPulseStore(":memory:", clock=lambda: clock.now)
    seed_sendpulse(small_world(), store)
    slot.app = create_app(store, client_id=CLIENT, client_secret=SECRET, api_key=STATIC, limits=limits)
    yield Account(slot.base, store, clock)
    store.close()


def said(answer: requests.Response) -> tuple[int, int]:
    """Status and code of an error in the shape `{message, error_code}`."""
    body = answer.json()
    assert set(body) >= {"message", "error_code"}
    return answer.status_code, body["error_code"]


def blacklist(*emails: str) -> dict[str, str]:
    """The body of a blacklist call."""
    return {"emails": base64.b64encode(",".join(emails).encode()).decode()}


# --- transport


def test_a_token_opens_for_an_hour(account: Account) -> None:
    """A client that keeps its token too long meets 401, and a new token helps."""
    granted = account.token().json()
    assert (granted["token_type"], granted["expires_in"]) == ("Bearer", 3600)
    account.header = f"Bearer {granted['access_token']}"
    account.clock.now += timedelta(seconds=3599)
    assert account("GET", "/addressbooks").status_code == 200
    account.clock.now += timedelta(seconds=1)
    assert said(account("GET", "/addressbooks")) == (401, 401)
    account.header = f"Bearer {account.token().json()['access_token']}"
    assert account("GET", "/addressbooks").status_code == 200
    account.store.expire_tokens()
    assert said(account("GET", "/addressbooks")) == (401, 401)


@pytest.mark.parametrize("given", [{"client_secret": "other"}, {"client_id": "other"}, {"grant_type": "password"}])
def test_a_wrong_client_gets_no_token(account: Account, given: dict[str, str]) -> None:
    """The token call has its own word for it."""
    answer = account.token(**given)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize("header", ["", "Bearer nonsense", "Basic c3RhdGljLWtleQ==", "Bearer "])
def test_without_a_key_nothing_opens(account: Account, header: str) -> None:
    """401 in the common shape, for known and unknown paths alike."""
    account.header = header
    assert said(account("GET", "/addressbooks")) == (401, 401)
    assert said(account("GET", "/nothing")) == (401, 401)


def test_unknown_paths_methods_and_bodies_are_told_apart(account: Account) -> None:
    """404, 405, 422."""
    assert account("GET", "/nothing").status_code == 404
    assert account("PATCH", "/addressbooks").status_code == 405
    assert account("POST", "/addressbooks", data="{not json").status_code == 422
    assert account("POST", "/addressbooks", json=[1]).status_code == 422


def test_a_form_is_understood_like_json(account: Account) -> None:
    """The official clients of other languages send forms, with JSON inside a field."""
    assert account("POST", "/addressbooks", data={"bookName": "Form"}).json()["id"]
    answer = account("POST", f"/addressbooks/{BOOK}/emails", data={"emails": '["form@example.com"]'})
    assert answer.json() == {"result": True}
    assert account.contact("form@example.com")["status"] == 1


class TestLimits:
    """Ten calls a second, counted by the twin."""

    ticks = 0.0

    @pytest.fixture
    def limits(self) -> dict[str, Limit]:
        return usual_limits(lambda: self.ticks)

    def test_the_eleventh_call_of_a_second_is_a_violation(self, account: Account) -> None:
        """429 with the long code; `/_sandbox/limits` has counted it; a tenth of a second later there is room."""
        assert [account("GET", "/tags").status_code for _ in range(10)] == [200] * 10
        assert said(account("GET", "/tags")) == (429, 2020202020)
        shown = requests.get(f"{account.base}/_sandbox/limits", timeout=10).json()
        assert (shown["violations"], shown["limits"]["minute"]["violations"]) == (1, 0)
        self.ticks += 0.11
        assert account("GET", "/tags").status_code == 200

    def test_the_thousand_and_first_call_of_a_minute_is_one_too(self) -> None:
        """Slow enough for the second, too many for the minute."""
        minute = usual_limits(lambda: self.ticks)["minute"]
        assert all(minute.take() for _ in range(1000))
        assert not minute.take()
        self.ticks += 60
        assert minute.take()


# --- the two spellings of errors


def test_some_errors_come_inside_a_200(account: Account) -> None:
    """904, 791, 303 and a bare `result: false`: a client that looks at the status alone takes them for success."""
    assert account("POST", "/blacklist", json=blacklist("x@example.com")).json() == {"result": True}
    again = account("POST", "/blacklist", json=blacklist("x@example.com"))
    assert (again.status_code, again.json()["is_error"], again.json()["error_code"]) == (200, True, 904)
    nobody = account.add("no address")
    assert (nobody.status_code, nobody.json()["error_code"]) == (200, 303)
    assert account("DELETE", "/addressbooks/1").json() == {"result": False}
    assert account("DELETE", "/blacklist", json=blacklist("nobody@example.com")).json() == {"result": False}


def test_an_account_may_hide_every_error_in_a_200(account: Account) -> None:
    """The same refusals by either setting; 401 keeps its status."""
    assert said(account("GET", "/addressbooks/1")) == (404, 213)
    account.store.configure(errors="200")
    hidden = account("GET", "/addressbooks/1")
    assert (hidden.status_code, hidden.json()["is_error"], hidden.json()["error_code"]) == (200, True, 213)
    account.header = "Bearer nonsense"
    assert account("GET", "/addressbooks").status_code == 401
    with pytest.raises(ValueError, match="errors cannot be 'maybe'"):
        account.store.configure(errors="maybe")


# --- books and contacts


def test_the_seed_holds_the_small_world(account: Account) -> None:
    """Six people in one book, statuses as they truly are, addresses as typed."""
    (book,) = account.get("/addressbooks")
    assert (book["id"], book["all_email_qty"], book["active_email_qty"], book["inactive_email_qty"]) == (BOOK, 6, 3, 3)
    found = {row["email"]: row["status"] for row in account.get(f"/addressbooks/{BOOK}/emails")}
    assert found == {
        "Person1@Example.com": 1,
        "person2@example.com": 8,
        "person3@example.com": 1,
        "person4@example.com": 6,
        "person5@example.com": 9,
        "person8@example.com": 1,
    }
    assert account.get(f"/addressbooks/{BOOK}/emails/total") == {"total": 6}
    assert [row["name"] for row in account.get(f"/addressbooks/{BOOK}/variables")] == ["name", "surname"]


def test_the_big_world_gives_a_small_stable_account(tmp_path: Path) -> None:
    """A second start finds the account filled; another world is refused; no event lies inside the world's time."""
    world = generate(seed=7, scale=0.02, as_of=START.date())
    store = SendPulseStore(tmp_path / "sendpulse.sqlite3")
    assert seed_sendpulse(world, store)
    assert not seed_sendpulse(world, store)
    assert 100 < store.people() <= 400
    clicks = store.rows("select at from happenings where word in ('open', 'redirect')")
    assert clicks
    assert all(row["at"] < world.started_at.isoformat() for row in clicks)
    with pytest.raises(ConfigurationError):
        seed_sendpulse(generate(seed=8, scale=0.02, as_of=START.date()), store)
    store.close()


def test_a_restart_finds_everything(tmp_path: Path) -> None:
    """Contacts, opt-outs, settings and tokens."""
    path = tmp_path / "sendpulse.sqlite3"
    before = SendPulseStore(path, clock=lambda: START)
    before.add_book("Newsletter", book_id=BOOK)
    before.enrol(["person1@example.com"])
    before.leave("person1@example.com")
    before.configure(statistics="list")
    token = before.issue_token(60)
    before.close()
    after = SendPulseStore(path, clock=lambda: START + timedelta(seconds=59))
    assert after.status_of("person1@example.com") == "Unsubscribed from all"
    assert after.setting("statistics") == "list"
    assert after.is_valid(token)
    after.close()


def test_a_page_has_a_hundred_rows_whatever_is_asked(account: Account) -> None:
    """`limit` is cut without a word; `offset` goes on; the filters split the book."""
    account.store.enrol([f"crowd{n}@example.com" for n in range(250)])
    pages = [account.get(f"/addressbooks/{BOOK}/emails", limit=500, offset=offset) for offset in (0, 100, 200, 300)]
    assert [len(page) for page in pages] == [100, 100, 56, 0]
    assert len({row["email"] for page in pages for row in page}) == 256
    assert len(account.get(f"/addressbooks/{BOOK}/emails", not_active="1")) == 3
    assert account.get(f"/addressbooks/{BOOK}/emails", active="1", limit=1, offset=252)[0]["status"] == 1
    assert account("GET", f"/addressbooks/{BOOK}/emails", params={"limit": "x"}).status_code == 422


def test_numbers_are_text_here_and_there(account: Account) -> None:
    """The same book's number has two types, and so have the variables two shapes."""
    assert account.contact("person1@example.com")["abook_id"] == str(BOOK)
    (book,) = account.get("/emails/person1@example.com")
    assert book["book_id"] == str(BOOK)
    assert book["variables"][0] == {"name": "name", "type": "string", "value": "Анна"}
    listed = account.get(f"/addressbooks/{BOOK}/emails", limit=1)[0]
    assert listed["variables"] == {"name": "Анна", "surname": "Last1"}
    assert {type(row["message"]["list_id"]) for row in account.get("/campaigns")} == {int, str}


def test_adding_creates_updates_and_tells_nothing(account: Account) -> None:
    """One flag for good rows, bad rows and known ones."""
    answer = account.add("new@example.com", "no address", {"email": "Person1@example.com", "variables": {"age": 7}})
    assert answer.json() == {"result": True}
    assert account.contact("new@example.com")["status"] == 1
    assert {"name": "age", "type": "number", "value": 7} in account.contact("person1@example.com")["variables"]
    assert account.store.people() == 7
    account.add({"email": "person1@example.com", "variables": {"age": 8}}, dont_update=1)
    assert {"name": "age", "type": "number", "value": 7} in account.contact("person1@example.com")["variables"]


def test_a_hundred_is_the_most(account: Account) -> None:
    """The hundred and first address refuses the whole call, in all three writing calls."""
    crowd = [f"crowd{n}@example.com" for n in range(101)]
    calls = [("POST", "emails"), ("DELETE", "emails"), ("POST", "emails/unsubscribe")]
    for method, path in calls:
        answer = account(method, f"/addressbooks/{BOOK}/{path}", json={"emails": crowd})
        assert answer.status_code == 422
    assert account.store.people() == 6
    assert account.add(*crowd[:100]).json() == {"result": True}
    assert account.store.people() == 106


def test_who_left_is_not_brought_back_by_any_call(account: Account) -> None:
    """Adding, adding with a confirmation, changing, removing and adding again; only the person's own link helps."""
    path = f"/addressbooks/{BOOK}/emails"
    gone = "person4@example.com"
    for again in (
        lambda: account.add(gone),
        lambda: account.add(gone, confirmation="force", sender_email="news@shop.example"),
        lambda: account.post(f"{path}/variable", email=gone, variables=[{"name": "x", "value": 1}]),
        lambda: account("DELETE", path, json={"emails": [gone]}),
        lambda: account.add(gone),
    ):
        assert again().json() == {"result": True}
        assert account.store.status_of(gone) in {"Unsubscribed from all", None}
    assert account.contact(gone)["status"] == 6
    account.store.confirm(gone)
    assert account.contact(gone)["status"] == 1


def test_who_complained_is_not_brought_back_either(account: Account) -> None:
    """Removed and added again, a complaint counts as leaving everything."""
    path = f"/addressbooks/{BOOK}/emails"
    assert account("DELETE", path, json={"emails": ["person2@example.com"]}).json() == {"result": True}
    account.add("person2@example.com")
    assert account.contact("person2@example.com")["status"] == 6


def test_deleting_everywhere_forgets_the_opt_out(account: Account) -> None:
    """The one hole: a client that deletes and adds again mails somebody who left."""
    assert account("DELETE", "/emails/person4@example.com").json() == {"result": True}
    assert said(account("GET", "/emails/person4@example.com")) == (404, 502)
    account.add("person4@example.com")
    assert account.store.status_of("person4@example.com") == "Active"


def test_unsubscribing_needs_somebody_active(account: Account) -> None:
    """422 when nobody is, otherwise the active ones leave this book and stay out."""
    path = f"/addressbooks/{BOOK}/emails/unsubscribe"
    assert account("POST", path, json={"emails": ["person4@example.com", "nobody@example.com"]}).status_code == 422
    assert account("POST", path, json={"emails": ["person1@example.com", "nobody@example.com"]}).json()["result"]
    assert account.store.status_of("person1@example.com") == "Unsubscribed"
    account.add("person1@example.com")
    assert account.contact("person1@example.com")["status"] == 4
    assert account.store.status_of("nobody@example.com") is None


def test_a_confirmation_is_asked_for_new_people(account: Account) -> None:
    """Double opt-in: not mailable until the person says so."""
    assert account.add("new@example.com", confirmation="force").status_code == 422
    account.add("new@example.com", confirmation="force", sender_email="news@shop.example")
    assert account.contact("new@example.com")["status"] == 2
    account.store.confirm("new@example.com")
    assert account.contact("new@example.com")["status"] == 1


def test_the_blacklist_covers_the_status_and_gives_it_back(account: Account) -> None:
    """Blocked while it is listed, contact or not; a hundred a page."""
    account("POST", "/blacklist", json=blacklist("person1@example.com", "stranger@example.com"))
    assert account.contact("person1@example.com")["status"] == 8
    assert account.get("/blacklist") == ["person1@example.com", "stranger@example.com"]
    assert account.get("/emails/person1@example.com/campaigns")["blacklist"] is True
    assert account("DELETE", "/blacklist", json=blacklist("person1@example.com")).json() == {"result": True}
    assert account.contact("person1@example.com")["status"] == 1
    assert account("POST", "/blacklist", json={"emails": "person1@example.com"}).status_code == 422
    account("POST", "/blacklist", json=blacklist(*(f"crowd{n}@example.com" for n in range(150))))
    assert [len(account.get("/blacklist", offset=offset)) for offset in (0, 100, 200)] == [100, 51, 0]


def test_many_addresses_are_read_at_once(account: Account) -> None:
    """Unknown addresses are left out, and the misspelt key is kept."""
    asked = {"emails": ["person1@example.com", "nobody@example.com"]}
    found = account("POST", "/emails", json=asked).json()
    assert list(found) == ["person1@example.com"]
    assert found["person1@example.com"][0]["status"] == 1
    counts = account("POST", "/emails/campaigns", json=asked).json()
    assert counts == {"person1@example.com": {"sent": 2, "open": 2, "link": 1, "adressbooks": [BOOK]}}


def test_books_and_variables_are_managed(account: Account) -> None:
    """203, 213, 299 and the ordinary ways."""
    number = account("POST", "/addressbooks", json={"bookName": "VIP"}).json()["id"]
    assert said(account("POST", "/addressbooks", json={"bookName": "VIP"})) == (400, 203)
    assert account("PUT", f"/addressbooks/{number}", json={"name": "Best"}).json() == {"result": True}
    assert account.get(f"/addressbooks/{number}")[0]["name"] == "Best"
    assert [row["email"] for row in account.get(f"/addressbooks/{BOOK}/variables/name/Vera")] == ["person3@example.com"]
    assert said(account("GET", f"/addressbooks/{BOOK}/variables/colour/red")) == (404, 299)
    phone = {"email": "person3@example.com", "phone": "+70000000000"}
    assert account("PUT", f"/addressbooks/{BOOK}/phone", json=phone).json() == {"result": True}
    assert account.contact("person3@example.com")["phone"] == "+70000000000"
    assert account("DELETE", f"/addressbooks/{number}").json() == {"result": True}
    assert said(account("GET", f"/addressbooks/{number}")) == (404, 213)


def test_tags_are_pinned_later(account: Account) -> None:
    """The answer is a place in a queue; the tag is there when somebody looks."""
    number = account("POST", "/tags", json={"name": "vip", "color": "#fff"}).json()["id"]
    answer = account("POST", "/tags/pin/email", json={"email": "person1@example.com", "tags": [number]}).json()
    assert answer["success"] is True
    assert answer["queue_id"]
    assert account.store.number("select count(*) from tag_pins") == 0
    assert account.get("/tags")[0]["emails_count"] == 1
    account("POST", "/tags/unpin/email", json={"email": "person1@example.com", "tags": [number]})
    account.store.finish_jobs()
    assert account.get("/tags")[0]["emails_count"] == 0
    assert said(account.post("/tags/pin/email", email="nobody@example.com", tags=[number])) == (404, 502)


# --- campaigns


def test_the_counts_have_two_shapes(account: Account) -> None:
    """The same numbers as a list with text, or as an object with the links beside."""
    new = account.get(f"/campaigns/{FIRST}")["statistics"]
    assert new["general"] == [
        {"code": 2, "count": 3, "explain": "Delivered"},
        {"code": 4, "count": 1, "explain": "Link followed"},
        {"code": 10, "count": 1, "explain": "Mailbox full"},
    ]
    assert new["clicks"] == [{"url": "https://shop.example/welcome", "count": 1}]
    account.store.configure(statistics="list")
    old = account.get(f"/campaigns/{FIRST}")["statistics"]
    assert [(row["code"], row["count"]) for row in old] == [(2, "3"), (4, "1"), (10, "1")]


def test_a_recipient_has_a_last_state_only(account: Account) -> None:
    """A click hides the open before it, an open after it changes nothing; the time has either of two names."""
    first = account.get(f"/campaigns/{FIRST}/email/person1@example.com")
    assert (first["global_status"], first["detail_status"], first["detail_status_explain"]) == (2, 4, "Link followed")
    account.store.happen("person1@example.com", "open", FIRST, START)
    assert account.get(f"/campaigns/{FIRST}/email/person1@example.com") == first
    assert "sent_date" in first
    assert "send_date" in account.get(f"/campaigns/{SECOND}/email/person1@example.com")
    failed = account.get(f"/campaigns/{SECOND}/email/person5@example.com")
    assert (failed["global_status"], failed["detail_status"]) == (12, 6)
    assert said(account("GET", f"/campaigns/{FIRST}/email/nobody@example.com")) == (404, 502)
    assert said(account("GET", "/campaigns/1")) == (404, 802)


def test_every_kind_of_end_is_in_the_seed(account: Account) -> None:
    """Opened, clicked, unsubscribed, complained, bounced hard and soft."""
    codes = {
        row["code"]
        for number in (FIRST, SECOND)
        for row in account.get(f"/campaigns/{number}")["statistics"]["general"]
    }
    assert codes == {2, 3, 4, 5, 6, 10, 11}
    (second, first) = account.get("/campaigns")
    assert (second["id"], first["id"]) == (SECOND, FIRST)
    assert second["statistics"] == {
        "sent": 6, "delivered": 5, "opening": 1, "link_redirected": 0, "unsubscribe": 1, "error": 1
    }  # fmt: skip


def test_times_are_naive_and_in_the_zone_of_the_account() -> None:
    """The same campaign three hours later on the clock of Moscow."""
    store = SendPulseStore(":memory:", clock=lambda: START, timezone=ZoneInfo("Europe/Moscow"))
    assert store.local("2026-03-01T09:00:00+00:00") == "2026-03-01 12:00:00"
    store.close()


def test_a_campaign_is_made_sent_and_counted(account: Account) -> None:
    """Created, sending, sent, one state a look; only mailable people get it; a fifth in an hour is refused with 791."""
    made = account("POST", "/campaigns", json=CAMPAIGN).json()
    assert (made["status"], made["count"], made["ovedraft_currency"]) == (13, 3, "RUR")
    states = [account.get(f"/campaigns/{made['id']}")["status"] for _ in range(3)]
    assert states == [2, 3, 3]
    assert account.get(f"/campaigns/{made['id']}")["statistics"]["general"] == [
        {"code": 2, "count": 3, "explain": "Delivered"}
    ]
    for _ in range(3):
        assert account("POST", "/campaigns", json=CAMPAIGN).json()["id"]
    fifth = account("POST", "/campaigns", json=CAMPAIGN)
    assert (fifth.status_code, fifth.json()["error_code"]) == (200, 791)
    account.clock.now += timedelta(hours=1)
    assert "error_code" not in account("POST", "/campaigns", json=CAMPAIGN).json()


def test_a_campaign_that_lacks_something_is_refused(account: Account) -> None:
    """Sender, subject, body, book and date each have a code."""
    wrong: list[tuple[dict[str, Any], int]] = [
        ({"sender_email": ""}, 1003),
        ({"subject": ""}, 721),
        ({"body": ""}, 720),
        ({"list_id": 1}, 213),
        ({"send_date": "2026-10-31 23:00:00"}, 799),
    ]
    for change, code in wrong:
        assert account("POST", "/campaigns", json={**CAMPAIGN, **change}).json()["error_code"] == code
    assert len(account.get("/campaigns")) == 2


def test_a_planned_campaign_leaves_at_its_time_or_is_cancelled(account: Account) -> None:
    """Until then it can be changed and cancelled."""
    planned = {**CAMPAIGN, "send_date": "2026-11-01 06:00:00"}
    number = account("POST", "/campaigns", json=planned).json()["id"]
    other = account("POST", "/campaigns", json=planned).json()["id"]
    assert [row["id"] for row in account.get("/campaigns", planned="1")] == [other, number]
    assert account("PATCH", f"/campaigns/{number}", json={"name": "Changed"}).json()["result"] is True
    assert account("DELETE", f"/campaigns/{other}").json() == {"result": True}
    account.clock.now += timedelta(hours=7)
    assert account.get(f"/campaigns/{number}")["status"] == 2
    assert account.get(f"/campaigns/{number}")["name"] == "Changed"
    assert account.get(f"/campaigns/{other}")["status"] == 16
    assert account("DELETE", f"/campaigns/{FIRST}").json() == {"result": False}


# --- transactional mail


def test_a_letter_is_sent_found_and_tracked(account: Account) -> None:
    """There is no mark against sending twice."""
    number = account.post("/smtp/emails", email=LETTER).json()["id"]
    assert account.post("/smtp/emails", email=LETTER).json()["id"] != number
    account.store.happen_to_letter(number, "clicked", START, url="https://shop.example/a", ip="192.0.2.1")
    shown = account.get(f"/smtp/emails/{number}")
    assert (shown["smtp_answer_code"], shown["tracking"]["click"]) == (250, 1)
    assert shown["tracking"]["link"][0]["action_date"] == "2026-11-01 00:00:00"
    assert len(account.get("/smtp/emails", recipient="Anna@example.com", **{"from": "2026-11-01"})) == 2
    assert account.get("/smtp/emails", to="2026-10-31") == []
    assert account.get("/smtp/emails/total") == {"total": 2}
    assert [row["id"] for row in account.post("/smtp/emails/info", emails=[number, "unknown"]).json()] == [number]
    assert account.post("/smtp/emails/info", emails=["x"] * 501).status_code == 422


@pytest.mark.parametrize("change", [{"html": "<b>not base64</b>"}, {"to": []}, {"from": {}}, {"subject": ""}])
def test_a_letter_that_lacks_something_is_refused(account: Account, change: dict[str, Any]) -> None:
    """Nothing is sent."""
    assert account.post("/smtp/emails", email={**LETTER, **change}).status_code == 422
    assert account.get("/smtp/emails/total") == {"total": 0}


def test_who_left_transactional_mail_gets_none(account: Account) -> None:
    """The call is accepted and the letter bounces; the list is the service's own."""
    assert account.post("/smtp/unsubscribe", emails=[{"email": "anna@example.com", "comment": "asked"}]).json()[
        "result"
    ]
    number = account.post("/smtp/emails", email=LETTER).json()["id"]
    assert account.get(f"/smtp/emails/{number}")["smtp_answer_code"] == 550
    assert account.get("/smtp/bounces/day", date="2026-11-01")["emails"][0]["email_to"] == "anna@example.com"
    assert account.get("/smtp/bounces/day", date="2026-11-02")["total"] == 0
    assert account.get("/smtp/unsubscribe/search", email="anna@example.com")["unsubscribe_by_user"] == 1
    assert account.post("/smtp/resubscribe", email="anna@example.com", sender="s@shop.example").json()["result"]
    assert len(account.get("/smtp/unsubscribe")) == 1
    assert account("DELETE", "/smtp/unsubscribe", json={"emails": ["anna@example.com"]}).json() == {"result": True}
    assert account.get("/smtp/unsubscribe") == []


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/addressbooks", False),
        ("POST", "/oauth/access_token", False),
        ("POST", "/emails", False),
        ("POST", "/emails/campaigns/", False),
        ("POST", f"/addressbooks/{BOOK}/emails", True),
        ("DELETE", "/emails/person1@example.com", True),
    ],
)
def test_questions_asked_by_post_are_no_changes(method: str, path: str, *, expected: bool) -> None:
    """The journal counts writes by this."""
    assert asks_for_change(method, path, {}) is expected
