"""The pages as people meet them: the real receiver under uvicorn, a real PostgreSQL, a real Chromium."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.inbox.receiver import receiver
from psycopg import conninfo
from tests.preferences import browser as chromium
from tests.preferences.browser import Browser
from tests.preferences.conftest import ANN, LINKS, PASSWORD, SECRET, URL, House

PHONE = {"width": 320, "height": 640}
"""The narrowest width that WCAG 2.2 (1.4.10) asks for without scrolling sideways."""
BOXES = "[...document.querySelectorAll('input[type=checkbox]')]"
TICKED = f"{BOXES}.filter(box => box.checked).map(box => box.value)"
CONTRAST = """
(() => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = e => { const c = rgb(getComputedStyle(e).backgroundColor);
    return c.length < 4 || c[3] > 0 ? c : e.parentElement ? behind(e.parentElement) : [255, 255, 255]; };
  return Math.min(...[...document.querySelectorAll('h1, h2, p, legend, strong, small, button, a, span')].map(e => {
    const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }));
})()
"""


@pytest.fixture(scope="module")
def running(shared_dsn: str, server_dir: Path) -> Iterator[str]:
    """The receiver as it runs; its address."""
    inbox = conninfo.make_conninfo(shared_dsn, user="lettertrail_inbox", password=PASSWORD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LETTERTRAIL_LINK_SECRETS", SECRET)
        patch.setenv("LETTERTRAIL_PREFERENCES_SENDER", "Shop & Co")
        with receiver(inbox, accounts="", url=URL, workers=1, log=server_dir / "preferences.log") as found:
            yield f"http://127.0.0.1:{found.port}"


@pytest.fixture(scope="module")
def started() -> Iterator[Browser]:
    """One browser for all tests. Without Chromium they fail, and say what installs it."""
    with chromium.browser() as found:
        yield found


def page(running: str, house: House) -> str:
    """The address of somebody's preference page."""
    return f"{running}/preferences/{LINKS.token('preferences', house.link())}"


@pytest.mark.parametrize(
    ("language", "title", "first"),
    [
        ("en", "Your e-mails from Shop & Co", "Company news\nWhat is new with us, now and then"),
        ("ru", "Ваши письма от Shop & Co", "Новости компании\nИзредка о том, что у нас нового"),
    ],
)
def test_the_page_fits_a_phone(
    house: House, running: str, started: Browser, language: str, title: str, first: str
) -> None:
    """In both languages: nothing to scroll sideways, large enough to hit, readable, nothing from elsewhere."""
    with started.tab(language=language, script=False, **PHONE) as tab:
        address = page(running, house)
        tab.open(address)
        assert (tab.read("document.title"), tab.texts("h1"), tab.texts("label")[0]) == (title, [title], first)
        assert tab.read("document.documentElement.lang") == language
        assert tab.read("document.documentElement.scrollWidth") <= PHONE["width"]
        assert tab.read("Math.min(...[...document.querySelectorAll('label, button')].map(e => e.offsetHeight))") >= 44
        assert tab.read(CONTRAST) >= 4.5
        tab.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
        assert tab.read(CONTRAST) >= 4.5
        assert tab.read("getComputedStyle(document.body).backgroundColor") == "rgb(22, 22, 22)"
        assert {url for url in tab.requests() if not url.endswith("/favicon.ico")} == {address}
        assert tab.complaints() == []


def test_choosing_without_script(house: House, running: str, started: Browser) -> None:
    """Tick by pressing the words, save, read that it is saved, come back and see it."""
    house.built(wanted="company_news")
    with started.tab(script=False, **PHONE) as tab:
        address = page(running, house)
        tab.open(address)
        assert tab.read(TICKED) == ["company_news"]
        for place in (2, 3):
            tab.click(f"label:nth-of-type({place}) strong")
        tab.click("label:nth-of-type(1) input")
        assert house.choices() == []
        tab.click("button[value=save]", leaves=True)
        assert tab.texts("[role=status]") == ["Saved. It will be so everywhere within some minutes."]
        assert house.choices() == [(ANN, "page", ["sales_and_discounts", "product_updates"])]
        tab.open(address)
        assert tab.read(TICKED) == ["sales_and_discounts", "product_updates"]
        assert tab.ask("Network.getCookies", urls=[address])["cookies"] == []
        assert tab.complaints() == []


def test_leaving_and_coming_back(house: House, running: str, started: Browser) -> None:
    """In Russian, chosen by the link at the top, which a saved page keeps."""
    with started.tab(script=False) as tab:
        tab.open(page(running, house))
        tab.click("nav a[lang=ru]", leaves=True)
        tab.click("button[value=leave]", leaves=True)
        assert tab.texts("[role=status]")[0].startswith("Вы отписались.")
        assert tab.texts("button") == ["Сохранить"]
        assert tab.read(TICKED) == []
        tab.click("label:nth-of-type(4)")
        tab.click("button[value=save]", leaves=True)
        assert tab.texts("[role=status]")[0].startswith("Сохранено. Раньше вы отписывались")
        assert house.choices() == [(ANN, "page", []), (ANN, "page", ["event_invitations"])]
        assert house.rows("select language from raw_inbox.choice_texts") == [("ru",)]


def test_by_keyboard_alone(house: House, running: str, started: Browser) -> None:
    """Tab and space reach everything in order, the focus shows, and Enter saves instead of leaving."""
    with started.tab(script=False) as tab:
        tab.open(page(running, house))
        reached = []
        for _ in range(7):
            tab.press("Tab", 9)
            reached.append(tab.read("document.activeElement.value || document.activeElement.lang"))
            assert tab.read("parseFloat(getComputedStyle(document.activeElement).outlineWidth)") >= 2
        categories = ["company_news", "sales_and_discounts", "product_updates", "event_invitations"]
        assert reached == ["ru", *categories, "save", "leave"]
        tab.read("document.querySelector('input[value=product_updates]').focus()")
        tab.press(" ", 32)
        tab.press("Enter", 13, leaves=True)
        assert house.choices() == [(ANN, "page", ["product_updates"])]


def test_what_is_read_aloud(house: House, running: str, started: Browser) -> None:
    """Every box has its words as its name, boxes are a named group, and the message is announced."""
    house.built(has_left=True)
    with started.tab(script=False) as tab:
        tab.open(page(running, house))
        nodes = tab.ask("Accessibility.getFullAXTree")["nodes"]
        named = [
            (node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]
        ]
        boxes = [name for role, name in named if role == "checkbox"]
        assert len(boxes) == 4
        assert boxes[0].startswith("Company news")
        assert all(name for role, name in named if role in ("checkbox", "button", "link", "group", "heading"))
        assert ("group", "What may we write to you about?") in named
        assert "status" in {role for role, _ in named}


def test_one_button_to_leave(house: House, running: str, started: Browser) -> None:
    """What a mail program without one-click opens: looking changes nothing, the button does."""
    with started.tab(language="ru", script=False, **PHONE) as tab:
        tab.open(f"{running}/unsubscribe/{LINKS.token('unsubscribe', house.link())}")
        assert house.choices() == []
        assert tab.read("document.documentElement.scrollWidth") <= PHONE["width"]
        tab.click("button", leaves=True)
        assert tab.texts("[role=status]")[0].startswith("Вы отписались.")
        assert house.choices() == [(ANN, "one_click", [])]


def test_a_link_scanner_changes_nothing(house: House, running: str, started: Browser) -> None:
    """One that opens every address it finds on the pages, with scripts on."""
    start = page(running, house)
    with started.tab() as tab:
        todo, done = [start, start.replace("/preferences/", "/unsubscribe/")], set()
        while todo:
            url = todo.pop()
            done.add(url)
            tab.open(url)
            found = tab.read("[...document.querySelectorAll('[href], [action], [src]')].map(e => e.href || e.action)")
            todo += [each for each in found if each not in done and each not in todo]
    assert len(done) >= 4
    assert house.choices() == []


def test_a_wrong_link_explains_itself(running: str, house: House, started: Browser) -> None:
    """In the reader's language."""
    with started.tab(language="ru", script=False, **PHONE) as tab:
        tab.open(f"{running}/preferences/{'x' * 43}")
        assert tab.texts("h1") == ["Ссылка не работает"]
        assert tab.read("document.documentElement.scrollWidth") <= PHONE["width"]


def test_the_log_of_the_receiver_names_nobody(running: str, house: House, server_dir: Path) -> None:
    """Tokens stand in the paths of all requests above."""
    said = (server_dir / "preferences.log").read_text(errors="replace")
    assert "preferences page refused with 404" in said
    assert re.search(r"[A-Za-z0-9_-]{43}", said) is None
    assert ANN not in said
