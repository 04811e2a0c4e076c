"""A person is gone from everywhere, stays gone, and no count shrinks."""

from __future__ import annotations

import io
import json
import re
import traceback
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from tests.contract.mailchimp_service import MailchimpService
from tests.erasure.conftest import AT, CARD, EMAIL, KEY, PHONE, PLANTED, Scene

from lettertrail.__main__ import main
from lettertrail.erasure import erase as module
from lettertrail.erasure.catalogue import tables
from lettertrail.erasure.erase import plan_erasure
from lettertrail.erasure.export import export_person
from lettertrail.erasure.keep import keep_erased
from lettertrail.erasure.keys import ErasureKey, read_key
from lettertrail.erasure.places import SCHEMAS
from lettertrail.erasure.rows import Findings, find_rows
from lettertrail.erasure.search import Search, search_for
from lettertrail.erasure.tell import Others
from lettertrail.errors import ConfigurationError, ContractError, ErasureIncomplete, WarehouseError
from lettertrail.esps.port import Outcome, Record

COUNTED = ("raw_bitrix", "raw_esp", "raw_inbox", "marts")
"""Whose rows something counts."""


class Killed(BaseException):
    """Stands for SIGKILL."""


def counts(scene: Scene) -> dict[str, int]:
    with psycopg.connect(scene.dsn) as connection:
        return {
            table.full_name: len(connection.execute(f"select from {table.full_name}".encode()).fetchall())
            for table in tables(connection, COUNTED)
        }


def found_in(text: str, table: str) -> dict[str, Any]:
    (row,) = json.loads(text)["tables"][table]
    return dict(row)


def test_nothing_is_left_in_any_column_of_any_table(scene: Scene, there: Counter[str]) -> None:
    """Whoever adds a table or a column that this does not reach sees it here; and no row that counts is gone."""
    before = counts(scene)
    assert len(there) > 500

    erased = scene.erase()

    assert erased is not None
    assert not scene.residue()
    assert counts(scene) == before


def test_others_keep_what_is_theirs(scene: Scene) -> None:
    """An address that only ends like the erased one stands where it stood."""
    scene.erase()
    (row,) = scene.query("select url from raw_esp.links")
    assert f"joan.{EMAIL}" in row["url"]
    assert KEY.email(EMAIL) in row["url"]


def test_the_plan_counts_what_then_happens(scene: Scene, there: Counter[str]) -> None:
    """And changes nothing itself."""
    plan = plan_erasure(scene.eraser_dsn, KEY, f"contact:{CARD}", clock=lambda: AT)
    assert scene.residue() == there
    erased = scene.erase()
    assert erased is not None
    assert plan.places == erased.places
    assert (plan.addresses, plan.numbers) == (1, 1)


def test_the_plan_locks_no_row_and_writes_nothing(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """It may not even: both need a right that is taken away here. Its progress names tables and nobody."""
    for schema in SCHEMAS:
        scene.execute(f"revoke insert, update, delete on all tables in schema {schema} from lettertrail_eraser")
    with caplog.at_level("INFO"):
        plan = plan_erasure(scene.eraser_dsn, KEY, f"contact:{CARD}", clock=lambda: AT)
    assert plan.places
    assert re.search(r"searched (\d+) of \1 tables, last \S+; \d+ rows found", caplog.text)
    assert EMAIL not in caplog.text.lower()


WRITTEN_MEANWHILE = (
    # a row that was found moves
    "update raw_bitrix.b_crm_contact set id = id",
    # a row that was not found comes to hold them
    "update raw_esp.links set url = 'https://x.example/?e=' || %(email)s",
    # no load says that it wrote this one
    "insert into ops.links (email, made_at) values (%(email)s, now())",
    # a table takes another's place, as dbt does it
    """
    create table marts.new as table marts.dim_person;
    insert into marts.new (person_id, primary_email) values ('new', %(email)s);
    drop table marts.dim_person;
    alter table marts.new rename to dim_person;
    grant select, update, delete on marts.dim_person to lettertrail_eraser
    """,
    # a new table
    """
    create table marts.later as select %(email)s::text as email;
    grant select, update, delete on marts.later to lettertrail_eraser
    """,
    # rows are put elsewhere
    "vacuum full raw_esp.campaigns",
)


def test_what_is_written_between_search_and_erasure_goes_too(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search reads for minutes and holds nobody up meanwhile; nothing of what it cannot have seen stays."""
    scene.execute("update raw_esp.links set url = 'https://x.example'")
    # One row was there before, so that the other lies elsewhere once the table was put in order.
    scene.execute("update raw_esp.campaigns set title = title")

    def find_and_write(*args: Any, **options: Any) -> Findings:
        found = find_rows(*args, **options)
        with psycopg.connect(scene.dsn, autocommit=True) as connection:
            for statement in WRITTEN_MEANWHILE:
                psycopg.ClientCursor(connection).execute(statement.encode(), {"email": EMAIL})
        return found

    monkeypatch.setattr(module, "find_rows", find_and_write)
    assert scene.erase() is not None
    assert not scene.residue()


def test_a_build_goes_on_while_the_search_reads(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each table nothing is held: another may take its place at once, and rows may be written."""

    def told(*args: object) -> datetime:
        scene.execute("set lock_timeout = '1s'; lock table marts.dim_person, raw_esp.contacts in access exclusive mode")
        return AT

    plan_erasure(scene.eraser_dsn, KEY, f"contact:{CARD}", clock=told)


def test_an_address_of_any_kind_is_found(house: Scene) -> None:
    """Short, with a tag, not of this alphabet; as it is, in capitals, in a link, in a link in a link."""
    for email in ("al@example.com", "al+news@example.com", "иван@example.com", "b%b@x.example"):
        linked = email.replace("+", "%2B").replace("@", "%40")
        texts = [
            email,
            email.upper(),
            f"<{email}>",
            linked,
            linked.replace("%40", "%2540"),
            f"x{email}",
            f"{email}.org",
        ]
        assert found_among(house, search_for(KEY, [email], [], ()), [(text, "") for text in texts]) == texts[:5]


def test_no_number_is_found_across_two_columns(house: Scene) -> None:
    """Such a row would be found for ever and never change."""
    rows = [("+7916", "1234567"), ("7 (916) 123-45-67", "")]
    assert found_among(house, search_for(KEY, [], [PHONE], ()), rows) == ["7 (916) 123-45-67"]


def found_among(house: Scene, search: Search, rows: Sequence[tuple[str, str]]) -> list[str]:
    with psycopg.connect(house.dsn) as connection:
        connection.execute("create table marts.texts (number int, one text, other text)")
        for number, row in enumerate(rows):
            connection.execute("insert into marts.texts values (%s, %s, %s)", [number, *row])
        (table,) = [table for table in tables(connection, ["marts"]) if table.name == "texts"]
        statement = sql.SQL("select one from marts.texts as each where {} order by number")
        found = connection.execute(statement.format(search.finds(table, "each"))).fetchall()
        connection.rollback()
    return [text for (text,) in found]


def test_a_second_erasure_changes_nothing(scene: Scene) -> None:
    scene.erase()
    assert scene.erase() is None
    assert len(scene.query("select from ops.erasures where run_id = 'run'")) == 1


def test_the_proof_says_what_was_done_and_not_who_it_was(scene: Scene, mailchimp: MailchimpService) -> None:
    """Counts, outcomes, keyed hashes: without the key nobody can tell whose they are."""
    scene.erase(Others([mailchimp.adapter()]), case="T-17", approved_by="boss@example.com")
    (proof,) = scene.query("select * from ops.erasures where run_id = 'run'")
    assert (proof["reference"], proof["services"]) == ("T-17", {"mailchimp": {"applied": 1}})
    # Airflow's SimpleAuthManager knows users by name only.
    assert (proof["approved_by"], proof["approved_at"]) == (KEY.reference("boss@example.com"), AT)
    assert proof["places"]["raw_bitrix.b_crm_contact"] == 1  # a row, though its texts and what a card tells went
    held = scene.query("select kind, digest, pseudonym from ops.erased_identifiers where erased_at = %s", [AT])
    assert {(row["kind"], row["pseudonym"]) for row in held} >= {
        ("email", KEY.email(EMAIL)),
        ("phone", KEY.phone(PHONE)),
    }
    with pytest.raises(ConfigurationError, match="param case"):
        scene.erase(case="for anna@example.com")


def test_the_services_forget_first(scene: Scene, mailchimp: MailchimpService) -> None:
    scene.erase(Others([mailchimp.adapter()]))
    assert mailchimp.status_of(EMAIL) is None


def test_who_cannot_be_deleted_is_not_written_to(scene: Scene, mailchimp: MailchimpService) -> None:
    class Humble:
        account = "mailchimp"

        def erase(self, records: Sequence[Record]) -> Iterable[Outcome]:
            return [Outcome(record.key, "rejected", "unsupported") for record in records]

        def suppress(self, records: Sequence[Record]) -> Iterable[Outcome]:
            return mailchimp.adapter().suppress(records)

    erased = scene.erase(Others([Humble()]))
    assert erased is not None
    assert erased.services == {"mailchimp": {"rejected": 1, "suppress applied": 1}}
    assert mailchimp.status_of(EMAIL) == "unsubscribed"


def test_a_lost_answer_keeps_the_person_known(scene: Scene, there: Counter[str], mailchimp: MailchimpService) -> None:
    """Only what can be told once more is still there to be told."""

    class Lost:
        account = "mailchimp"

        def erase(self, records: Sequence[Record]) -> Iterable[Outcome]:
            return [Outcome(record.key, "retry_pending") for record in records]

        suppress = erase

    with pytest.raises(ErasureIncomplete, match="mailchimp"):
        scene.erase(Others([Lost()]))
    assert scene.residue() == there
    scene.erase(Others([mailchimp.adapter()]))
    assert not scene.residue()


@pytest.mark.parametrize(
    "step", ["tell", "find_rows", "erase_ledger", "renumber", "erase_owned", "_prove", "note_load"]
)
def test_killed_anywhere_the_next_run_completes_it(
    scene: Scene, there: Counter[str], mailchimp: MailchimpService, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Killed after each step: the warehouse forgot nothing, and forgets all the next time."""
    work = getattr(module, step)

    def killed(*args: object, **options: object) -> None:
        work(*args, **options)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(module, step, killed)
        with pytest.raises(Killed):
            scene.erase(Others([mailchimp.adapter()]))
    assert scene.residue() == there

    assert scene.erase(Others([mailchimp.adapter()])) is not None

    assert not scene.residue()
    assert mailchimp.status_of(EMAIL) is None


def test_who_comes_back_with_a_load_is_erased_before_anything_is_built(
    scene: Scene, mailchimp: MailchimpService
) -> None:
    """Known by the hash alone; put back into a service by hand, they are suppressed there first."""
    scene.erase(Others([mailchimp.adapter()]))
    mailchimp.enrol([EMAIL])
    load, other = scene.load("raw_esp.contacts:mailchimp"), scene.load("raw_bitrix.b_crm_contact")
    scene.execute(
        "insert into raw_esp.contacts (esp, account, external_id, email, status, payload, _row_hash, _loaded_at,"
        " _load_id) values ('mailchimp', 'mailchimp', 'list:7', %s, 'subscribed', '{}', 1, %s, %s)",
        [EMAIL.title(), AT, load],
    )
    scene.execute(
        "update raw_bitrix.b_crm_contact set name = 'Zephyrina', comments = %s, _load_id = %s", [PLANTED, other]
    )
    assert scene.residue()

    again = keep_erased(scene.eraser_dsn, KEY, lambda account: mailchimp.adapter(), run_id="build", clock=lambda: AT)

    assert set(again) == {"raw_esp.contacts", "raw_bitrix.b_crm_contact"}
    assert not scene.residue()
    assert mailchimp.status_of(EMAIL) == "unsubscribed"
    assert keep_erased(scene.eraser_dsn, KEY, mailchimp.adapter, run_id="build", clock=lambda: AT) == {}


def test_the_bitrix_cards_are_told_the_same_pseudonyms(scene: Scene) -> None:
    """What the next copy brings is what stands here already."""

    class Cards:
        def __init__(self) -> None:
            self.told: list[tuple[str, tuple[int, ...], str, str]] = []

        def erase_cards(self, entity: str, cards: Sequence[int], stand_in: object) -> Counter[str]:
            assert callable(stand_in)
            self.told.append((entity, tuple(cards), stand_in("EMAIL", EMAIL), stand_in("PHONE", "8 916 123-45-67")))
            return Counter(applied=len(cards))

    portal = Cards()
    scene.erase(Others(portal=portal))
    assert portal.told == [(kind, (CARD,), KEY.email(EMAIL), KEY.phone(PHONE)) for kind in ("contact", "lead")]


def test_the_export_holds_what_raw_holds(scene: Scene, tmp_path: Path) -> None:
    """Every table with a trace of the person is in it; nobody else may read the file."""
    found = export_person(scene.eraser_dsn, KEY, f"contact:{CARD}", tmp_path / "exports", clock=lambda: AT)
    path = Path(found.path)
    assert path.stat().st_mode & 0o777 == 0o600
    text = path.read_text(encoding="utf-8")
    for column in scene.residue():
        table = column.rpartition(".")[0]
        assert f'"{table}"' in text, table
    assert EMAIL in str(found_in(text, "raw_inbox.deliveries")["body"]).lower()


@pytest.mark.parametrize(
    "reference", ["anna@example.com", "contact:0", "company:1", "contact:1 or 1=1", "email:" + "0" * 32, ""]
)
def test_a_reference_is_a_card_or_a_keyed_hash(planted: Scene, reference: str) -> None:
    with pytest.raises(ConfigurationError, match="param person"):
        plan_erasure(planted.eraser_dsn, KEY, reference, clock=lambda: AT)


def test_a_keyed_hash_of_an_address_or_a_number_names_the_person(planted: Scene) -> None:
    """However it is spelled; without the key nobody can make one, and under another key it is nobody's."""
    for identifier in (EMAIL.upper(), "8 (916) 123-45-67"):
        plan = plan_erasure(planted.eraser_dsn, KEY, KEY.reference(identifier), clock=lambda: AT)
        assert plan.addresses == 1
    other = ErasureKey(b"another key of 32 characters or more")
    with pytest.raises(ConfigurationError, match="know nobody"):
        plan_erasure(planted.eraser_dsn, KEY, other.reference(EMAIL), clock=lambda: AT)


def test_somebody_called_like_a_word_of_ours_can_be_erased(scene: Scene) -> None:
    """Larry Page: the word of how a choice was made stays, or the row would be refused."""
    scene.execute("update raw_inbox.choices set way = 'zephyrina'")
    scene.execute("alter table raw_inbox.choices add check (way in ('zephyrina', 'one_click'))")
    assert scene.erase() is not None
    assert scene.residue() == {"raw_inbox.choices.way": 1}


def test_an_error_quotes_nobody(scene: Scene) -> None:
    """What the server says of a row it refuses ends in a log."""
    scene.execute("update raw_esp.campaigns set title = %s", [EMAIL])
    scene.execute("alter table raw_esp.campaigns add check (title not like '%invalid')")
    with pytest.raises((ContractError, WarehouseError)) as caught:
        scene.erase()
    assert EMAIL not in "".join(traceback.format_exception(caught.value)).lower()
    assert scene.residue()


def test_the_sites_are_told_not_to_write(scene: Scene, mailchimp: MailchimpService) -> None:
    """Nothing can be deleted there: the address is suppressed, which needs it once more."""
    erased = scene.erase(Others(sites=[mailchimp.adapter()]))
    assert erased is not None
    assert erased.services == {"mailchimp": {"suppress applied": 1}}
    assert mailchimp.status_of(EMAIL) == "unsubscribed"


def test_an_address_is_named_without_being_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard input, because a command line is kept; without the key the setting is named."""
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{EMAIL.upper()}\n"))
    monkeypatch.setenv("LETTERTRAIL_ERASURE_KEY", KEY.secret.decode())
    assert main(["reference"]) == 0
    assert capsys.readouterr().out.split() == [KEY.reference(EMAIL), KEY.email(EMAIL)]
    monkeypatch.delenv("LETTERTRAIL_ERASURE_KEY")
    monkeypatch.setattr("sys.stdin", io.StringIO(EMAIL))
    assert main(["reference"]) == 1
    assert "LETTERTRAIL_ERASURE_KEY" in capsys.readouterr().err


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="LETTERTRAIL_ERASURE_KEY"):
        read_key({"LETTERTRAIL_ERASURE_KEY": "short"})
