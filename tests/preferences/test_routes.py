"""Requests to the pages, against a real warehouse and with no more rights than the receiver has."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import re
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest
from psycopg import conninfo
from tests.inbox.conftest import Answer, asking
from tests.preferences.conftest import ANN, FORM, PASSWORD, House

from lettertrail.preferences.page import Pages
from lettertrail.preferences.routes import PageLimits

ONE_CLICK = b"List-Unsubscribe=One-Click"
MULTIPART = (
    b'--b0und\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b0und--\r\n',
    {"Content-Type": "multipart/form-data; boundary=b0und"},
)


def ticked(answer: Answer) -> list[str]:
    """The categories that the page shows as chosen."""
    return re.findall(r'value="(\w+)" checked', answer.body.decode())


def notice(answer: Answer) -> str:
    """What the page says has happened."""
    found = re.search(r'role="status">([^<]*)<', answer.body.decode())
    return found[1] if found else ""


def preferences(house: House, link: object) -> str:
    return f"/preferences/{house.links.token('preferences', link)}"


def unsubscribe(house: House, link: object) -> str:
    return f"/unsubscribe/{house.links.token('unsubscribe', link)}"


def test_the_page_shows_what_holds(house: House) -> None:
    """As the last build knows it; before the first build nothing is ticked."""
    link = house.link()
    assert ticked(house.ask("GET", preferences(house, link))) == []
    house.built(wanted="company_news,product_updates")
    answer = house.ask("GET", preferences(house, link))
    assert (answer.status, ticked(answer), notice(answer)) == (200, ["company_news", "product_updates"], "")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_looking_changes_nothing(house: House, method: str) -> None:
    """However often, at either address, and with a form's fields in the query."""
    link = house.link()
    for path in (preferences(house, link), unsubscribe(house, link)):
        for query in ("", "?do=leave", "?List-Unsubscribe=One-Click", "?category=company_news&do=save"):
            assert house.ask(method, path + query).status == 200
    assert house.choices() == []


def test_what_is_saved_is_shown(house: House) -> None:
    """At once, and by a later request, before any build; what was not ticked is refused."""
    link = house.link()
    house.built(wanted="company_news")
    saved = house.save(link, "event_invitations", "product_updates")
    assert (saved.status, ticked(saved)) == (200, ["product_updates", "event_invitations"])
    assert "Saved" in notice(saved)
    assert ticked(house.ask("GET", preferences(house, link))) == ["product_updates", "event_invitations"]
    assert house.choices() == [(ANN, "page", ["product_updates", "event_invitations"])]


def test_a_later_build_knows_better(house: House) -> None:
    """What an ESP told since is in the mart, and newer than the choice."""
    link = house.link()
    house.save(link, "company_news")
    house.now += timedelta(hours=2)
    house.built(wanted="sales_and_discounts")
    assert ticked(house.ask("GET", preferences(house, link))) == ["sales_and_discounts"]


@pytest.mark.parametrize(("do", "categories"), [("leave", ["company_news"]), ("leave", []), ("save", [])])
def test_leaving_altogether(house: House, do: str, categories: list[str]) -> None:
    """By the button, whatever is ticked, or by ticking nothing."""
    link = house.link()
    house.built(wanted="company_news")
    left = house.save(link, *categories, do=do)
    assert (left.status, ticked(left)) == (200, [])
    assert "You have left" in notice(left)
    assert "You have left" in notice(house.ask("GET", preferences(house, link)))
    assert house.choices() == [(ANN, "page", [])]


def test_who_left_may_come_back(house: House) -> None:
    """By ticking and saving; the text that was agreed to is kept with the choice."""
    link = house.link()
    house.built(has_left=True)
    assert "confirm that you are back" in notice(house.save(link, "company_news"))
    wording = Pages("Shop & Co").wording("en")
    assert house.rows(
        "select wanted, offered, text_version, language, text, chosen_at from raw_inbox.choices"
        " join raw_inbox.choice_texts using (text_version)"
    ) == [
        (
            ["company_news"],
            ["company_news", "sales_and_discounts", "product_updates", "event_invitations"],
            wording.version, "en", wording.text, house.now,
        )
    ]  # fmt: skip
    assert "Shop & Co" in wording.text
    assert "By saving you agree" in wording.text


def test_who_complained_cannot_come_back_here(house: House) -> None:
    """Nothing to tick, nothing stored; leaving once more is taken."""
    link = house.link()
    house.built(has_left=True, may_return=False)
    for answer in (house.ask("GET", preferences(house, link)), house.save(link, "company_news")):
        assert b"<form" not in answer.body
        assert "do not write to this address" in notice(answer)
    assert house.choices() == []
    assert house.save(link, do="leave").status == 200
    assert len(house.choices()) == 1


def test_a_text_that_changed_is_shown_again(house: House) -> None:
    """Nobody agrees to what was not on the page; what was ticked stays so. Leaving needs no text."""
    link = house.link()
    answer = house.save(link, "company_news", text="page-en-000000000000")
    assert (answer.status, ticked(answer)) == (409, ["company_news"])
    assert house.choices() == []
    assert house.save(link, do="leave", text="page-en-000000000000").status == 200


def test_one_click_leaves(house: House) -> None:
    """Both kinds of form that RFC 8058 allows, without a redirect, with no cookie and no language."""
    for email, (body, headers) in {"a@x.example": (ONE_CLICK, FORM), "b@x.example": MULTIPART}.items():
        answer = house.ask("POST", unsubscribe(house, house.link(email)), body, headers)
        assert (answer.status, "location" in answer.headers, "set-cookie" in answer.headers) == (200, False, False)
    assert house.choices() == [("a@x.example", "one_click", []), ("b@x.example", "one_click", [])]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", FORM),
        (b"", {}),
        (b"List-Unsubscribe=Two-Clicks", FORM),
        (ONE_CLICK, {"Content-Type": "text/plain"}),
        (b"\xff=\xff", FORM),
        (b"&".join([b"a=b"] * 100), FORM),
        (b"no part", {"Content-Type": "multipart/form-data; boundary=b0und"}),
        (b"no part", {"Content-Type": "multipart/form-data"}),
        (MULTIPART[0][:60], MULTIPART[1]),
    ],
)
def test_a_post_without_the_words_does_not(house: House, body: bytes, headers: dict[str, str]) -> None:
    """400, never 5xx."""
    assert house.ask("POST", unsubscribe(house, house.link()), body, headers).status == 400
    assert house.choices() == []


@pytest.mark.parametrize("body", [b"", b"do=steal", b"category=company_news", b"do=save&category=everything"])
def test_another_form_is_refused(house: House, body: bytes) -> None:
    """Ours has a button and four categories."""
    assert house.ask("POST", preferences(house, house.link()), body).status == 400
    assert house.choices() == []


def test_wrong_links_are_all_the_same(house: House) -> None:
    """Forged, for something else, unknown, erased: one page, byte for byte."""
    link = house.link()
    gone = house.link("gone@example.com")
    house.run("delete from ops.links where link_id = %s", gone)
    paths = [
        "/preferences/", "/preferences/x", f"/preferences/{house.links.token('unsubscribe', link)}",
        preferences(house, uuid4()), preferences(house, gone), unsubscribe(house, gone),
        f"/unsubscribe/{house.links.token('preferences', link)}",
    ]  # fmt: skip
    answers = [house.ask("GET", path) for path in paths]
    answers += [house.ask("POST", path, b"do=leave&" + ONE_CLICK) for path in paths]
    assert {answer.status for answer in answers} == {404}
    assert len({(answer.body, *answer.headers.items()) for answer in answers}) == 1
    assert house.choices() == []


def test_other_methods_are_refused(house: House) -> None:
    """With the ones that are not."""
    answer = house.ask("DELETE", preferences(house, house.link()))
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, POST")


def test_webhooks_are_still_webhooks(house: House) -> None:
    """Three parts are an account's address, also of one that is called like a page."""
    assert house.ask("GET", "/preferences/marketing/x").headers == {"content-length": "0"}


def test_a_long_body_is_refused(house: House) -> None:
    """A form of ours is short."""
    assert house.ask("POST", preferences(house, house.link()), b"a" * 20_000).status == 413


def test_nothing_is_kept_or_loaded(house: House) -> None:
    """Every answer: no cookie, no cache, no frame, no referrer, no script, nothing from elsewhere."""
    link = house.link()
    for answer in (
        house.ask("GET", preferences(house, link)),
        house.ask("GET", unsubscribe(house, link)),
        house.save(link, "company_news"),
        house.ask("GET", "/preferences/wrong"),
    ):
        headers, text = answer.headers, answer.body.decode()
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-robots-tag"] == "noindex, nofollow"
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-type"] == "text/html; charset=utf-8"
        assert "set-cookie" not in headers
        style = re.search(r"<style>(.*)</style>", text, re.DOTALL)
        assert style is not None
        digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
        assert headers["content-security-policy"] == (
            f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none'; "
            "frame-ancestors 'none'"
        )
        assert re.search(r"<(script|img|link|iframe)|https?://|style=", text) is None
        assert ANN not in text


@pytest.mark.parametrize(
    ("query", "accepted", "language"),
    [
        ("", "", "en"), ("", "ru-RU,ru;q=0.9,en;q=0.8", "ru"), ("", "de,en;q=0.3,ru;q=0.7", "ru"),
        ("", "en,ru", "en"), ("", "ru;q=0", "en"), ("", "ru;q=x, *", "en"), ("?lang=ru", "en", "ru"),
        ("?lang=en", "ru", "en"), ("?lang=xx", "ru", "ru"), ("?" + "a=b&" * 200, "ru", "ru"), ("", "ru," * 5000, "ru"),
    ],
)  # fmt: skip
def test_the_language_is_the_readers(house: House, query: str, accepted: str, language: str) -> None:
    """By the link at the top of the page, else as the browser asks, else English."""
    answer = house.ask("GET", preferences(house, house.link()) + query, headers={"Accept-Language": accepted})
    assert answer.headers["content-language"] == language
    assert f'<html lang="{language}">' in answer.body.decode()
    assert ("Новости компании" in answer.body.decode()) == (language == "ru")


def test_a_button_pressed_twice_is_one_choice(house: House) -> None:
    """And the same choice made again another day is another statement: something may have come between."""
    link = house.link()
    for seconds in (0, 5, 3600):
        house.now += timedelta(seconds=seconds)
        house.save(link, "company_news")
    assert len(house.choices()) == 2


def test_changes_of_one_link_are_limited(house: House) -> None:
    """Looking is not, and other links are not."""
    ann, bob = house.link(), house.link("bob@example.com")

    async def pressed() -> list[int]:
        async with house.app(PageLimits(changes_per_minute=3, links_remembered=2)) as app:
            paths = [unsubscribe(house, ann)] * 5 + [unsubscribe(house, bob)]
            found = [(await asking(app, "POST", path, ONE_CLICK, FORM)).status for path in paths]
            return [*found, (await asking(app, "GET", preferences(house, ann))).status]

    assert asyncio.run(pressed()) == [200, 200, 200, 429, 429, 200, 200]


def test_all_requests_are_limited(house: House) -> None:
    """With a good token; others cost nothing."""
    path = preferences(house, house.link())

    async def asked() -> list[int]:
        async with house.app(PageLimits(requests_per_second=0.5)) as app:
            return [(await asking(app, "GET", each)).status for each in (path, path, "/preferences/x")]

    assert asyncio.run(asked()) == [200, 429, 404]


def test_no_answer_before_it_is_on_disk(house: House) -> None:
    """A warehouse that is away: 503 with a time to come back, and a page that says so."""
    link = house.link()
    away = House(conninfo.make_conninfo(house.dsn, port=1))
    answer = away.ask("POST", unsubscribe(house, link), ONE_CLICK)
    assert (answer.status, answer.headers["retry-after"]) == (503, "30")
    assert "Nothing was changed" in answer.body.decode()


def test_a_connection_that_died_is_replaced(house: House) -> None:
    """The server ends it between two requests; nobody notices."""
    path = preferences(house, house.link())

    async def asked() -> list[int]:
        async with house.app() as app:
            first = (await asking(app, "GET", path)).status
            house.run(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where application_name = 'lettertrail: preferences' and datname = current_database()"
            )
            return [first, (await asking(app, "GET", path)).status]

    assert asyncio.run(asked()) == [200, 200]


def test_the_receiver_can_do_nothing_else(house: House) -> None:
    """It reads no table: neither addresses nor choices nor the texts."""
    house.save(house.link(), "company_news")
    for table in ("ops.links", "raw_inbox.choices", "raw_inbox.choice_texts", "marts.mart_preference_page"):
        with psycopg.connect(house.inbox_dsn) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"select * from {table}".encode())


def test_choices_are_only_added_to(house: House) -> None:
    """Nobody who copies or builds can change what a person said."""
    house.save(house.link(), "company_news")
    for role in ("lettertrail_loader", "lettertrail_dbt", "lettertrail_sync"):
        house.run(f"alter role {role} password '{PASSWORD}'")
        dsn = conninfo.make_conninfo(house.dsn, user=role, password=PASSWORD)
        for statement in ("delete from raw_inbox.choices", "update raw_inbox.choices set wanted = '[]'"):
            with psycopg.connect(dsn) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


def test_the_log_names_nobody(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """Neither tokens nor addresses, whatever is refused."""
    caplog.set_level(logging.DEBUG)
    link = house.link()
    house.ask("POST", unsubscribe(house, link), b"x")
    house.ask("GET", preferences(house, uuid4()))
    house.save(link, "company_news")
    assert "not one click" in caplog.text
    for secret in (ANN, house.links.token("unsubscribe", link), house.links.token("preferences", link), str(link)):
        assert secret not in caplog.text
