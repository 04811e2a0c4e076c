"""The site's handler in real PHP, with small stand-ins for the classes of Bitrix, against the real inbox."""

from __future__ import annotations

import re
import socket
import subprocess
from collections import Counter
from contextlib import closing
from typing import Any

import pytest
from tests.bitrix_site.conftest import Handler, Inbox

AGENT = {"do": "agent"}
LEFT = {
    "do": "fire",
    "module": "sender",
    "event": "OnAfterRecipientUnsub",
    "data": {"MAILING_ID": 1, "RECIPIENT_ID": 11, "EMAIL": "ann@shop.example", "ABUSE": False},
}
LETTER = {
    "do": "mail",
    "data": {
        "EVENT_NAME": "SALE_NEW_ORDER",
        "LID": "s1",
        "C_FIELDS": {"EMAIL": "ann@shop.example", "NAME": "Анна", "ORDER_ID": "42"},
    },
}


def fired(module: str, event: str, **given: Any) -> dict[str, Any]:
    return {"do": "fire", "module": module, "event": event, "data": {}, **given}


# Events


def test_what_happens_on_the_site_is_told(handler: Handler, inbox: Inbox) -> None:
    """Each kind in the words of the inbox, signed; nothing of it changes what the site does."""
    handler.keep(recipients={"11": 5}, subscriptions={"3": {"EMAIL": "dan@shop.example"}})
    gave = handler.run(
        LEFT,
        LEFT | {"data": {"EMAIL": "bob@shop.example", "ABUSE": True}},
        fired("subscribe", "OnBeforeSubscriptionUpdate", data={"ID": 3, "ACTIVE": "N"}),
        fired("subscribe", "OnBeforeSubscriptionAdd", data={"EMAIL": "eve@shop.example", "ACTIVE": "Y"}),
        fired("sale", "OnSaleOrderSaved", entity={"ID": 42, "STATUS_ID": "F"}),
        fired("sale", "OnSaleBasketItemSaved", entity={"ID": 9, "FUSER_ID": 8}),
        AGENT,
    )
    assert [one["gave"] for one in gave[:-1]] == [[None]] * 6
    told = [(event["type"], event["data"]) for event in inbox.events()]
    assert told == [
        ("unsubscribe", {"email": "ann@shop.example", "recipient_id": 11, "letter_id": 5}),
        ("unsubscribe", {"email": "bob@shop.example", "reason": "abuse"}),
        ("unsubscribe", {"email": "dan@shop.example", "reason": "subscription"}),
        ("subscribe", {"email": "eve@shop.example"}),
        ("order", {"order_id": 42, "status": "F"}),
        ("basket", {"fuser_id": 8, "basket_item_id": 9}),
    ]
    assert len({event["id"] for event in inbox.events()}) == 6
    assert handler.waiting() == []


def test_changes_that_say_nothing_are_not_told(handler: Handler, inbox: Inbox) -> None:
    """A subscription that stays, an order without an id, an unsubscribe of nobody."""
    handler.run(
        fired("subscribe", "OnBeforeSubscriptionUpdate", data={"ID": 3, "ACTIVE": "Y", "EMAIL": "a@shop.example"}),
        fired("subscribe", "OnBeforeSubscriptionUpdate", data={"ID": 3, "FORMAT": "html"}),
        fired("sale", "OnSaleOrderSaved", entity={"ID": 0, "STATUS_ID": "N"}),
        LEFT | {"data": {"EMAIL": ""}},
        AGENT,
    )
    assert inbox.events() == []


def test_only_what_was_asked_for_is_told(handler: Handler, inbox: Inbox) -> None:
    """The other kinds have no handler at all."""
    handler.configure(url=inbox.url, events=["order"])
    gave = handler.run(LEFT, fired("sale", "OnSaleOrderSaved", entity={"ID": 1, "STATUS_ID": "N"}), AGENT)
    assert gave[0]["gave"] == []
    assert [event["type"] for event in inbox.events()] == ["order"]


def test_without_its_settings_it_does_nothing(handler: Handler) -> None:
    """Taking config.php away switches it off."""
    (handler.root / "config.php").unlink()
    gave = handler.run(LEFT, LETTER)
    assert (gave[0]["gave"], gave[1]["gave"]) == ([], "Y")
    assert len(handler.site()["sent"]) == 1
    assert not handler.queue.exists()


def test_the_agent_is_made_once(handler: Handler) -> None:
    """And says how it is to be called again."""
    page = fired("main", "OnEpilog")
    assert handler.run(page, AGENT)[1]["gave"] == "\\LetterTrail\\Site\\Site::agent();"
    handler.run(page, page)
    assert handler.site()["agents"] == [["\\LetterTrail\\Site\\Site::agent();", 60]]


def test_where_nobody_waits_it_is_told_at_once(handler: Handler, inbox: Inbox) -> None:
    """After the visitor has his page."""
    handler.run(LEFT, LEFT, HAS_FASTCGI="1")
    assert len(inbox.events()) == 2


def test_a_thousand_events_go_in_hundreds(handler: Handler, inbox: Inbox) -> None:
    """All of them, each once, in order."""
    handler.run(*[fired("sale", "OnSaleOrderSaved", entity={"ID": n, "STATUS_ID": "N"}) for n in range(1, 251)])
    handler.run(AGENT)
    assert [event["data"]["order_id"] for event in inbox.events()] == list(range(1, 251))


# An inbox in trouble


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("drop_before", {}),
        ("refuse", {"status": 503}),
        ("refuse", {"status": 401}),
        ("refuse", {"status": 404}),
        ("refuse", {"status": 429}),
        ("slow", {"seconds": 1.5}),
    ],
)
def test_what_is_not_taken_waits(handler: Handler, inbox: Inbox, kind: str, how: dict[str, Any]) -> None:
    """Nothing is lost, nobody waits long, and the inbox is left alone for a while."""
    handler.run(LEFT)
    inbox.fault(kind, times=1, **how)
    assert handler.run(AGENT)[0]["seconds"] < 2
    waiting = handler.waiting()
    handler.run(AGENT)
    assert len(waiting) == len(handler.waiting()) == 1
    handler.later(60)
    handler.run(AGENT)
    assert handler.waiting() == []
    assert inbox.events()[-1] == waiting[0]["event"]


def test_a_lost_answer_is_told_again_under_the_same_id(handler: Handler, inbox: Inbox) -> None:
    """Which the inbox knows: once for all that reads it."""
    handler.run(LEFT)
    inbox.fault("drop_after_write", times=1)
    handler.run(AGENT)
    handler.later(60)
    handler.run(AGENT)
    first, second = inbox.events()
    assert first == second


def test_nobody_there_costs_the_visitor_nothing(handler: Handler) -> None:
    """Keeping an event does not call anybody."""
    handler.configure(url=unreachable())
    assert handler.run(LEFT)[0]["seconds"] < 0.2
    handler.run(AGENT)
    assert len(handler.waiting()) == 1


def test_one_that_is_refused_does_not_hold_up_the_rest(handler: Handler, inbox: Inbox) -> None:
    """It stays on disk for a person to look at."""
    handler.run(LEFT, LEFT, LEFT)
    spoilt = sorted(handler.queue.glob("*.php"))[1]
    spoilt.write_text(spoilt.read_text(encoding="utf-8").replace('"type":"unsubscribe"', '"type":""'), encoding="utf-8")
    handler.run(AGENT)
    assert len(inbox.events()) == 2
    assert handler.waiting() == []
    assert [path.name for path in handler.queue.glob("*.refused")] == [f"{spoilt.name}.refused"]


def test_a_queue_that_cannot_be_written_breaks_nothing(handler: Handler, inbox: Inbox) -> None:
    """The event is lost to us, and polling will find it; the site goes on."""
    handler.queue.write_text("a file where the directory should be")
    gave = handler.run(LEFT, LETTER, AGENT)
    assert gave[0]["gave"] == [None]
    assert inbox.events()[0]["type"] == "mail"


def test_the_queue_shows_nothing_to_the_web(handler: Handler) -> None:
    """Whoever asks the web server for a file runs it, and it ends before its first word."""
    handler.run(LEFT)
    (path,) = handler.queue.glob("*.php")
    assert "ann@shop.example" in path.read_text(encoding="utf-8")
    assert subprocess.run(["php", str(path)], capture_output=True, check=True).stdout == b""


# Letters


def test_a_letter_taken_is_not_sent_by_the_site(handler: Handler, inbox: Inbox) -> None:
    """As Bitrix would make it; the row of its queue shows success."""
    assert handler.run(LETTER)[0]["gave"] == "Y"
    (letter,) = inbox.letters()
    assert (letter.recipient, letter.sender, letter.subject, letter.body, letter.body_type) == (
        "ann@shop.example",
        "shop@shop.example",
        "Заказ №42",
        "<p>Спасибо, Анна!</p>",
        "html",
    )
    assert (letter.event_name, letter.template_id, letter.site_id, letter.language) == (
        "SALE_NEW_ORDER",
        "7",
        "s1",
        "ru",
    )
    assert handler.site()["sent"] == []
    assert handler.waiting() == []


def test_a_second_try_of_bitrix_is_the_same_letter(handler: Handler, inbox: Inbox) -> None:
    """The id is kept with the row of the mail queue."""
    fields = {**LETTER["data"]["C_FIELDS"], "LETTERTRAIL_EVENT_ID": "f" * 32}
    handler.run(*[LETTER | {"data": LETTER["data"] | {"C_FIELDS": fields}}] * 2)
    assert {event["id"] for event in inbox.events()} == {"f" * 32 + "-7"}
    assert len({letter.key for letter in inbox.letters()}) == 1


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"EVENT_NAME": "NEW_USER"}, id="another event"),
        pytest.param({"FILE": [1]}, id="with a file"),
    ],
)
def test_other_letters_stay_with_the_site(handler: Handler, inbox: Inbox, changes: dict[str, Any]) -> None:
    """They are not even shown to the inbox."""
    name = changes.get("EVENT_NAME", "SALE_NEW_ORDER")
    template = f'[{{"ID": "7", "EVENT_NAME": "{name}", "EMAIL_TO": "#EMAIL#", "BODY_TYPE": "text"}}]'
    assert handler.run(LETTER | {"data": LETTER["data"] | changes}, TEMPLATES=template)[0]["gave"] == "Y"
    assert inbox.events() == []
    assert handler.site()["sent"] == [[name, 7, "ann@shop.example"]]


@pytest.mark.parametrize(
    "trouble",
    ["nobody", "refuse 422", "refuse 401", "compiler", "config"],
)
def test_a_letter_certainly_not_taken_goes_out_at_once(handler: Handler, inbox: Inbox, trouble: str) -> None:
    """By the site's own mail, once; nothing waits."""
    environment = {"COMPILER_FAILS": "1"} if trouble == "compiler" else {}
    if trouble == "nobody":
        handler.configure(url=unreachable())
    if trouble == "config":
        handler.configure(url=inbox.url, secret="an old one")
    if trouble.startswith("refuse"):
        inbox.fault("refuse", status=int(trouble.split()[1]), times=1)
    assert handler.run(LETTER, **environment)[0]["gave"] == "Y"
    handler.later(60)
    handler.run(AGENT)
    assert len(handler.site()["sent"]) == 1
    assert handler.waiting() == []
    assert inbox.letters() == []


@pytest.mark.parametrize("kind", ["drop_after_write", "drop_before", "slow"])
def test_a_letter_without_an_answer_is_seen_once(handler: Handler, inbox: Inbox, kind: str) -> None:
    """The site does not send it; it is offered again under the same id, and the outbox keeps one."""
    how = {"seconds": 2} if kind == "slow" else {}
    inbox.fault(kind, times=1, **how)
    done = handler.run(LETTER)[0]
    assert (done["gave"], done["seconds"] < 2) == ("Y", True)
    assert len(handler.waiting()) == 1
    handler.later(60)
    handler.run(AGENT)
    assert handler.waiting() == []
    assert len({letter.key for letter in inbox.letters()}) == 1
    assert handler.site()["sent"] == []


def test_after_ten_minutes_the_site_sends_it(handler: Handler, inbox: Inbox) -> None:
    """Once, without asking the inbox about it again."""
    inbox.fault("drop_before", times=1000)
    handler.run(LETTER)
    handler.later(300)
    handler.run(AGENT)
    assert handler.site()["sent"] == []
    handler.later(400)
    handler.run(AGENT, AGENT)
    handler.later(1000)
    handler.run(AGENT)
    assert handler.site()["sent"] == [["SALE_NEW_ORDER", 7, "ann@shop.example"]]
    assert handler.waiting() == []


def test_a_silent_inbox_is_not_asked_with_every_letter(handler: Handler, inbox: Inbox) -> None:
    """For a minute the site sends as it always did."""
    inbox.fault("slow", seconds=2, times=1)
    first, second, third = handler.run(LETTER, LETTER, LETTER)
    assert first["seconds"] > 0.4 > max(second["seconds"], third["seconds"])
    assert len(handler.site()["sent"]) == 2


def test_templates_with_copies_stay_with_the_site(handler: Handler, inbox: Inbox) -> None:
    """The outbox sends to one person at a time."""
    template = (
        '[{"ID": "7", "EVENT_NAME": "SALE_NEW_ORDER", "EMAIL_TO": "#EMAIL#", "BCC": "boss@shop.example", '
        '"BODY_TYPE": "text"}]'
    )
    handler.run(LETTER, TEMPLATES=template)
    assert inbox.events() == []
    assert len(handler.site()["sent"]) == 1


# REST


def test_an_address_is_suppressed_in_the_sender_module(handler: Handler) -> None:
    """Known, new, twice, and what is no address; nothing is ever taken back."""
    handler.keep(contacts=[{"ID": 1, "CODE": "ann@shop.example", "TYPE_ID": 1, "BLACKLISTED": "N", "NAME": "Ann"}])
    query = {"emails": ["Ann@Shop.example ", "new@shop.example", "nobody"]}
    step = {"do": "rest", "method": "lettertrail.suppress", "query": query}
    first, second = handler.run(step, step)
    assert first["gave"]["outcomes"] == {
        "Ann@Shop.example ": "applied",
        "new@shop.example": "applied",
        "nobody": "rejected",
    }
    assert Counter(second["gave"]["outcomes"].values()) == {"already_ok": 2, "rejected": 1}
    assert [(row["CODE"], row["BLACKLISTED"]) for row in handler.site()["contacts"]] == [
        ("ann@shop.example", "Y"),
        ("new@shop.example", "Y"),
    ]
    assert handler.site()["contacts"][0]["NAME"] == "Ann"


def test_the_suppressed_are_listed_page_by_page(handler: Handler) -> None:
    """By id, 500 at a time; others are not among them."""
    handler.keep(
        contacts=[
            {"ID": n, "CODE": f"p{n}@shop.example", "TYPE_ID": 1, "BLACKLISTED": "Y" if n % 2 else "N"}
            for n in range(1, 1101)
        ]
    )
    listed = {"do": "rest", "method": "lettertrail.suppressed", "query": {}}
    (first,) = handler.run(listed)
    (second,) = handler.run(listed | {"query": {"after": first["gave"]["next"]}})
    assert (len(first["gave"]["items"]), first["gave"]["next"]) == (500, 999)
    assert (len(second["gave"]["items"]), second["gave"]["next"]) == (50, None)


@pytest.mark.parametrize("emails", [[], ["a@shop.example"] * 51])
def test_too_few_or_too_many_are_an_error(handler: Handler, emails: list[str]) -> None:
    """Which says what to do."""
    (gave,) = handler.run({"do": "rest", "method": "lettertrail.suppress", "query": {"emails": emails}})
    assert re.search("Give 1 to 50 emails", gave["gave"]["error"])


def test_a_site_without_the_module_says_so(handler: Handler) -> None:
    """Rather than that all is well."""
    step = {"do": "rest", "method": "lettertrail.suppress", "query": {"emails": ["a@shop.example"]}}
    (gave,) = handler.run(step, NO_SENDER="1")
    assert "sender is not installed" in gave["gave"]["error"]


def unreachable() -> str:
    """An address where nobody listens."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/bitrix_site/site/x"
