"""Values on cards against the REST sandbox on a real MariaDB: the site's tables must say what the marts say."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import Any

import psycopg
import pytest
from tests.crm.scene import CARDS, NOON, Crm, commands
from tests.push_ledger import Killed, sync_role

from lettertrail.audiences import state_statements
from lettertrail.audiences.brake import Limits
from lettertrail.bitrix.rest import BitrixRest
from lettertrail.crm.fields import ALL, CONTACTS, DEALS, LEADS
from lettertrail.crm.own_writes import WarehouseOwnWrites
from lettertrail.errors import BrakeApplied, ContractError, TemporaryApiError
from lettertrail.esps.port import Record

FOREVER = 1_000


def test_the_first_run_makes_the_fields_and_fills_them(crm: Crm) -> None:
    """120 contacts are three writes; what the site holds is what the mart says, signs and times included."""
    crm.fill_contacts(120)
    result = crm.push()
    assert (result.planned, result.applied) == (120, 120)
    assert crm.on_cards(CONTACTS) == crm.in_mart(CONTACTS)
    made = {row["FIELD_NAME"]: row["USER_TYPE_ID"] for row in crm.site("select * from b_user_field")}
    assert made == {field.name: field.kind for field in CONTACTS.columns.values()}
    writes = [line for line in crm.writes() if line["path"].endswith("/batch")]
    assert [len(line["body"]["cmd"]) for line in writes] == [50, 50, 20]
    assert crm.unbalanced() == []


def test_nothing_changed_is_no_call(crm: Crm) -> None:
    """Not even a read."""
    crm.fill_contacts(30)
    crm.push()
    before = len(crm.lines())
    crm.later(hours=1)
    assert crm.push().planned == 0
    assert len(crm.lines()) == before


def test_only_the_changed_field_of_the_changed_card_is_sent(crm: Crm) -> None:
    """Per record and per field."""
    crm.fill_contacts(5)
    crm.push()
    before = len(crm.lines())
    crm.show(CONTACTS, 3, last_opened_at=NOON, best_letter="Скидка 3 % & «ещё»", consent_source="bitrix")
    result = crm.push()
    (update,) = commands([line for line in crm.lines()[before:] if line["is_write"]])
    assert result.planned == 1
    assert update.startswith("crm.contact.update?id=3&fields[UF_CRM_LT_OPENED_AT]=2026-11-01T12")
    assert update.count("fields[") == 1
    assert crm.on_cards(CONTACTS) == crm.in_mart(CONTACTS)


def test_leads_and_deals(crm: Crm) -> None:
    """Each entity has its own fields, ids and ledger."""
    crm.show(LEADS, 1, last_clicked_at=NOON, consented_at=NOON - timedelta(days=9), consent_text="Рассылка / v2")
    crm.show(DEALS, 1, letter="Осень", letter_id="bitrix:5", credit_percent=33, model="linear")
    crm.show(DEALS, 2)
    assert [crm.push(cards).applied for cards in (LEADS, DEALS)] == [1, 1]
    assert crm.on_cards(LEADS) == crm.in_mart(LEADS)
    assert crm.on_cards(DEALS) == {1: crm.in_mart(DEALS)[1]}
    assert crm.on_cards(CONTACTS) == {}
    assert set(crm.acknowledged("lead_fields")) == set(crm.acknowledged("deal_letters")) == {"1"}


def test_what_is_there_already_is_adopted(crm: Crm) -> None:
    """Of a lost ledger nothing is written again, and a value that a person typed and we do not know stays."""
    crm.fill_contacts(10)
    crm.push()
    crm.execute("truncate ops.acknowledged")
    crm.change_site("update b_uts_crm_contact set UF_CRM_LT_CONSENT_TEXT = 'by hand' where VALUE_ID = 4")
    written = len(crm.writes())
    result = crm.push()
    assert (result.planned, result.already_ok) == (10, 10)
    assert len(crm.writes()) == written
    assert crm.on_cards(CONTACTS)[4]["UF_CRM_LT_CONSENT_TEXT"] == "by hand"


def test_a_dry_run_asks_nothing(crm: Crm) -> None:
    """The plan is on record, the portal untouched."""
    crm.fill_contacts(3)
    result = crm.push(dry_run=True)
    assert (result.planned, result.held) == (3, 3)
    assert crm.lines() == []
    assert crm.push().applied == 3


def test_emptied_values_are_held_and_the_rest_goes_on(crm: Crm) -> None:
    """A mart that lost its opens must not empty the cards; what changed otherwise is written."""
    crm.fill_contacts(40)
    crm.push()
    crm.execute("update marts.mart_crm_contact_fields set last_opened_at = null where contact_id <= 30")
    crm.execute("update marts.mart_crm_contact_fields set best_letter = 'Новое' where contact_id > 30")
    with pytest.raises(BrakeApplied, match="30 of 40 records to remove"):
        crm.push()
    shown = crm.on_cards(CONTACTS)
    assert all("UF_CRM_LT_OPENED_AT" in values for values in shown.values())
    assert {shown[card]["UF_CRM_LT_BEST_LETTER"] for card in range(31, 41)} == {"Новое"}
    crm.push(release_brake=True)
    assert crm.on_cards(CONTACTS) == crm.in_mart(CONTACTS)
    assert crm.unbalanced() == []


def test_old_marts_are_not_told(crm: Crm) -> None:
    """What is two days old may be wrong by now."""
    crm.fill_contacts(3)
    crm.now += timedelta(days=2)
    with pytest.raises(BrakeApplied, match="48 hours old"):
        crm.push()
    assert crm.lines() == []


def test_an_emptied_mart_empties_nothing(crm: Crm) -> None:
    """Only cards that the mart has are looked at."""
    crm.fill_contacts(20)
    crm.push()
    crm.execute("truncate marts.mart_crm_contact_fields")
    assert crm.push().planned == 0


def test_a_card_that_is_gone_is_settled(crm: Crm) -> None:
    """There is nothing that could show anything else."""
    crm.show(CONTACTS, CARDS + 1000, best_letter="x")
    crm.show(CONTACTS, 1, best_letter="x")
    result = crm.push()
    assert (result.applied, result.already_ok) == (1, 1)
    assert crm.push().planned == 0


def test_somebody_elses_field_is_left_alone(crm: Crm) -> None:
    """A field of that name with another type stops the push before anything is written."""
    field = {"FIELD_NAME": "UF_CRM_LT_OPENED_AT", "USER_TYPE_ID": "string"}
    crm.rest().api.post("/crm.contact.userfield.add", json={"fields": field})
    crm.fill_contacts(2)
    with pytest.raises(ContractError, match="UF_CRM_LT_OPENED_AT exists but is not of type datetime"):
        crm.push()
    assert crm.on_cards(CONTACTS) == {}
    assert crm.unbalanced() == []


@pytest.mark.parametrize("times", [1, FOREVER])
def test_a_lost_answer_is_read_back(crm: Crm, times: int) -> None:
    """Every card has its values, and the ledger says so, whether a repeat came through or not."""
    crm.fill_contacts(60)
    crm.rest().about("contact").ensure_fields(list(CONTACTS.columns.values()))
    crm.fault("drop_after_write", path="batch", skip=2, times=times)
    try:
        crm.push()
    except TemporaryApiError:
        crm.mend()
        crm.push()
    assert crm.on_cards(CONTACTS) == crm.in_mart(CONTACTS)
    assert len(crm.acknowledged("contact_fields")) == 60
    assert crm.push().planned == 0
    assert crm.unbalanced() == []


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_any_call_the_next_run_completes_it(crm: Crm, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call of the first push in turn: then all cards are right, the ledger balances, nothing is left to do."""
    for dies_at in count(1):
        crm.later(minutes=1)
        crm.execute("truncate marts.mart_crm_contact_fields")
        crm.execute(
            "insert into marts.mart_crm_contact_fields (contact_id, best_letter, last_opened_at) "
            "select card, %s, %s from generate_series(1, 60) as card",
            [f"round {dies_at}", crm.now],
        )
        rest = crm.rest()
        _die(rest, dies_at, moment, monkeypatch)
        try:
            crm.push(rest=rest)
            break
        except Killed:
            crm.push()
        assert crm.on_cards(CONTACTS) == crm.in_mart(CONTACTS)
        before = len(crm.lines())
        assert crm.push().planned == 0
        assert len(crm.lines()) == before
        assert crm.unbalanced() == []
    assert dies_at > 4


def _die(rest: BitrixRest, at: int, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    post, calls = rest.api.post, count(1)

    def counted(*arguments: Any, **options: Any) -> Any:
        is_last = next(calls) == at
        if is_last and moment == "before":
            raise Killed
        answer = post(*arguments, **options)
        if is_last:
            raise Killed
        return answer

    monkeypatch.setattr(rest.api, "post", counted)


def test_the_card_of_somebody_erased_stays_as_it_is(crm: Crm) -> None:
    """The read-back misses nothing there, and a lost ledger fills nothing in; a lead of that number is another's."""
    crm.fill_contacts(3)
    crm.push()
    crm.show(LEADS, 2, consent_text="v2")
    crm.erased(contact=[2])
    crm.change_site("delete from b_uts_crm_contact where VALUE_ID = 2")
    audit = crm.audit()
    assert audit is not None
    assert (audit.expected, audit.missing) == (2, 0)
    crm.execute("truncate ops.acknowledged")
    crm.later(hours=1)
    crm.push()
    assert set(crm.on_cards(CONTACTS)) == {1, 3}
    assert crm.push(LEADS).applied == 1


def test_a_refused_card_is_asked_again_after_a_week(crm: Crm) -> None:
    """A refusal is an answer, not a fault."""
    crm.fill_contacts(1)
    crm.push()
    with psycopg.connect(crm.warehouse_dsn) as connection:
        (row,) = connection.execute(
            "update ops.acknowledged set value = 'add_refused', fields = '{}' returning destination, account, audience"
        ).fetchall()
        told = dict(zip(("destination", "account", "audience"), row, strict=True))
        values = {**told, "doubted_because": None, "restored_at": None, "at": crm.now}
        connection.execute(state_statements.NOTE_STATE.encode(), values)
    crm.later(days=6)
    assert crm.push().planned == 0
    crm.later(days=2)
    assert crm.push().already_ok == 1


# Our own writes are no news


def own_writes(crm: Crm) -> dict[int, tuple[Any, Any]]:
    rows = crm.query("select card_id, changed_before, changed_after from ops.own_writes where card_type = 'contact'")
    return {row["card_id"]: (row["changed_before"], row["changed_after"]) for row in rows}


def changed_on_site(crm: Crm, card: int) -> Any:
    (row,) = crm.query(
        "select %s::timestamp at time zone 'Europe/Moscow' as changed",
        [crm.site(f"select DATE_MODIFY from b_crm_contact where ID = {card}")[0]["DATE_MODIFY"]],
    )
    return row["changed"]


def test_the_time_before_our_write_is_kept(crm: Crm) -> None:
    """Over several writes, until somebody else changes the card; then his change counts."""
    untouched = changed_on_site(crm, 1)
    crm.show(CONTACTS, 1, best_letter="one")
    crm.push()
    assert own_writes(crm) == {1: (untouched, changed_on_site(crm, 1))}
    crm.show(CONTACTS, 1, best_letter="two")
    crm.push()
    assert own_writes(crm) == {1: (untouched, changed_on_site(crm, 1))}
    crm.change_site("update b_crm_contact set DATE_MODIFY = '2026-06-07 08:09:10' where ID = 1")
    his = changed_on_site(crm, 1)
    crm.show(CONTACTS, 1, best_letter="three")
    crm.push()
    assert own_writes(crm) == {1: (his, changed_on_site(crm, 1))}


def test_a_card_that_never_said_when_it_changed_is_written_too(crm: Crm) -> None:
    """Put in by SQL it has no time of change, and that is what is kept of it, over several writes."""
    crm.change_site("update b_crm_contact set DATE_MODIFY = null where ID = 1")
    for letter in ("one", "two"):
        crm.show(CONTACTS, 1, best_letter=letter)
        assert crm.push().applied == 1
        assert own_writes(crm) == {1: (None, changed_on_site(crm, 1))}


def test_the_flag_is_our_write_too(crm: Crm) -> None:
    """Whether it was set or was so already."""
    rest = crm.rest()
    rest.own_writes = WarehouseOwnWrites(crm.warehouse_dsn)
    untouched = changed_on_site(crm, 1)
    assert [outcome.status for outcome in rest.suppress([Record("1", ""), Record("2", "")])] == ["applied"] * 2
    assert own_writes(crm) == {card: (untouched, changed_on_site(crm, card)) for card in (1, 2)}
    assert [outcome.status for outcome in rest.suppress([Record("1", "")])] == ["already_ok"]
    assert own_writes(crm)[1] == (untouched, changed_on_site(crm, 1))


def test_a_killed_write_is_known_as_ours(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    """It went through, and nobody was told: the next run finds it on the card."""
    crm.rest().about("contact").ensure_fields(list(CONTACTS.columns.values()))
    untouched = changed_on_site(crm, 1)
    crm.show(CONTACTS, 1, best_letter="one")
    rest = crm.rest()
    _die(rest, 3, "after", monkeypatch)
    with pytest.raises(Killed):
        crm.push(rest=rest)
    assert own_writes(crm) == {1: (untouched, None)}
    assert crm.push().already_ok == 1
    assert own_writes(crm) == {1: (untouched, changed_on_site(crm, 1))}


def test_the_sync_role_is_enough(crm: Crm) -> None:
    """From the plan to the last note, as lettertrail_sync."""
    crm.sync_dsn = sync_role(crm.warehouse_dsn)
    crm.show(CONTACTS, 1, best_letter="x")
    crm.unanswered("p1")
    assert [crm.push(cards).applied for cards in ALL.values()] == [1, 0, 0]
    assert crm.follow_up().applied == 1


def test_limits_are_the_callers(crm: Crm) -> None:
    """An operator may allow more at once."""
    crm.fill_contacts(40)
    crm.push()
    crm.execute("update marts.mart_crm_contact_fields set best_letter = null")
    assert crm.push(limits=Limits(max_removed_pct=100)).applied == 40


def test_a_value_a_manager_changed_is_found_and_written_again(crm: Crm) -> None:
    """Changed and emptied values count, one typed into a field that is to be empty stays, a card that is gone is no
    drift, and one that is to show something new is the plan's."""
    crm.fill_contacts(6)
    crm.push()
    crm.change_site(
        "update b_uts_crm_contact set UF_CRM_LT_BEST_LETTER = 'by hand' where VALUE_ID = 2",
        "update b_uts_crm_contact set UF_CRM_LT_OPENED_AT = null where VALUE_ID = 3",
        "update b_uts_crm_contact set UF_CRM_LT_CONSENT_TEXT = 'by hand' where VALUE_ID = 4",
        "delete from b_crm_contact where ID = 5",
    )
    crm.execute("update marts.mart_crm_contact_fields set consent_source = 'mailchimp' where contact_id = 6")
    written = len(crm.writes())

    found = crm.audit()

    assert len(crm.writes()) == written
    assert found is not None
    assert (found.audience, found.expected, found.missing, found.strangers) == ("contact_fields", 6, 2, 0)
    assert crm.push().applied == 3
    shown = crm.on_cards(CONTACTS)
    assert shown.pop(4) == crm.in_mart(CONTACTS)[4] | {"UF_CRM_LT_CONSENT_TEXT": "by hand"}
    assert {card: shown[card] for card in (1, 2, 3, 6)} == {card: crm.in_mart(CONTACTS)[card] for card in (1, 2, 3, 6)}
    again = crm.audit()
    assert again is not None
    assert again.missing == 0


def test_another_portal_repairs_nothing(crm: Crm) -> None:
    """Where most values are not there, a person has to look."""
    crm.fill_contacts(60)
    crm.push()
    crm.change_site("update b_uts_crm_contact set UF_CRM_LT_BEST_LETTER = null where VALUE_ID > 10")
    with pytest.raises(BrakeApplied, match="50 of 60 confirmed records are not there"):
        crm.audit()
    assert crm.push().planned == 0


def test_what_was_never_pushed_is_not_read_back(crm: Crm) -> None:
    """Not even a call."""
    assert crm.audit(DEALS) is None
    assert crm.lines() == []
