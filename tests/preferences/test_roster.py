"""Links for everybody, and the ledger that tells of new choices."""

from __future__ import annotations

import csv
import stat
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo
from tests.preferences.conftest import ANN, LINKS, NOW, PASSWORD, SECRET, URL, House

from lettertrail.clock import fixed_clock
from lettertrail.errors import ConfigurationError, ContractError
from lettertrail.preferences.__main__ import main
from lettertrail.preferences.applied import note_choices
from lettertrail.preferences.links import Links
from lettertrail.preferences.roster import Signed, export_links, sign_links
from lettertrail.warehouse.ledger import check_balance

CLOCK = fixed_clock(NOW)
BOB = "bob@example.com"


@pytest.fixture
def sync_dsn(house: House) -> str:
    """As the role that pushes, with marts it may read as in production."""
    house.built(ANN)
    house.built(BOB)
    house.run("grant select on marts.mart_preference_page to lettertrail_sync")
    return conninfo.make_conninfo(house.dsn, user="lettertrail_sync", password=PASSWORD)


def urls(house: House) -> dict[str, tuple[str, str]]:
    """Both links by address."""
    rows = house.rows("select email, preferences_url, unsubscribe_url from ops.links")
    return {email: (preferences, unsubscribe) for email, preferences, unsubscribe in rows}


def test_everybody_gets_links_once(house: House, sync_dsn: str) -> None:
    """They stay the same, and lead to whom they were made for."""
    assert sign_links(sync_dsn, LINKS, clock=CLOCK) == Signed(2, 2)
    first = urls(house)
    house.built("new@example.com")
    assert sign_links(sync_dsn, LINKS, clock=CLOCK) == Signed(1, 1)
    assert {email: found for email, found in urls(house).items() if email in first} == first
    number = house.rows("select link_id from ops.links where email = %s", ANN)[0][0]
    assert first[ANN] == (LINKS.url("preferences", number), LINKS.url("unsubscribe", number))
    assert ANN not in str(first[ANN])


def test_a_new_secret_makes_them_anew(house: House, sync_dsn: str) -> None:
    """The numbers stay, so both links work while both secrets are accepted."""
    sign_links(sync_dsn, LINKS, clock=CLOCK)
    before = urls(house)
    both = Links((b"n" * 32, *LINKS.secrets), URL)
    assert sign_links(sync_dsn, both, clock=CLOCK) == Signed(0, 2)
    after = urls(house)
    old, new = (found[ANN][0].rpartition("/")[2] for found in (before, after))
    assert old != new
    assert both.read("preferences", old) == both.read("preferences", new)


def test_links_need_marts_and_an_address(house: House) -> None:
    """Both are told with what to do."""
    dsn = conninfo.make_conninfo(house.dsn, user="lettertrail_sync", password=PASSWORD)
    with pytest.raises(ContractError, match="build the marts"):
        sign_links(dsn, LINKS, clock=CLOCK)
    house.built(ANN)
    with pytest.raises(ConfigurationError, match="LETTERTRAIL_INBOX_URL"):
        sign_links(house.dsn, Links(LINKS.secrets, ""), clock=CLOCK)


def test_links_are_exported_for_their_owner(house: House, sync_dsn: str, tmp_path: Path) -> None:
    """A file that others could read before cannot be read by them after."""
    path = tmp_path / "links.csv"
    path.touch(mode=0o644)
    sign_links(sync_dsn, LINKS, clock=CLOCK)
    assert export_links(sync_dsn, path) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["email"]: (row["preferences_url"], row["unsubscribe_url"]) for row in rows} == urls(house)


def test_the_command_makes_and_writes_them(
    house: House, sync_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And names what is missing; its log holds no address."""
    caplog.set_level("INFO")
    path = tmp_path / "links.csv"
    monkeypatch.setenv("LETTERTRAIL_SYNC_DSN", sync_dsn)
    monkeypatch.delenv("LETTERTRAIL_LINK_SECRETS", raising=False)
    assert main([str(path)]) == 1
    assert "LETTERTRAIL_LINK_SECRETS is not set" in caplog.text
    monkeypatch.setenv("LETTERTRAIL_LINK_SECRETS", SECRET)
    monkeypatch.setenv("LETTERTRAIL_INBOX_URL", URL)
    assert main([str(path)]) == 0
    assert len(path.read_text().splitlines()) == 3
    assert "2 links written" in caplog.text
    assert ANN not in caplog.text


def test_new_choices_are_noted_once(house: House) -> None:
    """In the ledger, whose sums hold; a run that finds none leaves no row."""
    house.run("truncate ops.cursors, ops.loads cascade")
    link = house.link()
    house.save(link, "company_news")
    house.save(link, do="leave")
    assert note_choices(house.dsn, run_id="one", clock=CLOCK) == 2
    assert note_choices(house.dsn, run_id="two", clock=CLOCK) == 0
    house.save(house.link(BOB), "company_news")
    assert note_choices(house.dsn, run_id="three", clock=CLOCK) == 1
    assert house.rows("select run_id, read, inserted from ops.loads where target = 'raw_inbox.choices' order by 1") == [
        ("one", 2, 2), ("three", 1, 1)
    ]  # fmt: skip
    assert [check_balance(house.dsn, run_id=run) for run in ("one", "two", "three")] == [1, 0, 1]


def test_a_choice_that_commits_late_is_not_passed_over(house: House) -> None:
    """Numbers are given in the order of commits: while one choice is under way, the next one waits."""
    link = house.link()
    choose = "select raw_inbox.choose(%s, 'one_click', '{}', '{company_news}', null, null, null, %s)"
    with psycopg.connect(house.dsn) as slow, psycopg.connect(house.dsn) as quick:
        slow.execute(choose, [link, NOW])
        quick.execute("set lock_timeout = '200ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            quick.execute(choose, [house.link(BOB), NOW])
