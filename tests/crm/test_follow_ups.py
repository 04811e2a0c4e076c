"""To-dos against the REST sandbox: one per letter and person, whatever happens on the way."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import count

import pytest
from tests.crm.scene import Crm
from tests.crm.test_card_fields import FOREVER, _die
from tests.push_ledger import Killed

from lettertrail.errors import BrakeApplied, TemporaryApiError


def of_cards(crm: Crm) -> list[int]:
    return sorted(row["OWNER_ID"] for row in crm.todos())


def test_the_manager_gets_one_with_a_link(crm: Crm) -> None:
    """Whose card, whose job, by when, about what; brackets of a title open no link."""
    crm.unanswered("p1", card_id=3)
    result = crm.follow_up()
    (todo,) = crm.todos()
    (noted,) = crm.query("select * from ops.follow_ups")
    assert (result.planned, result.applied) == (1, 1)
    assert (todo["OWNER_TYPE_ID"], todo["OWNER_ID"], todo["RESPONSIBLE_ID"]) == (3, 3, 7)
    assert todo["DEADLINE"] == datetime(2026, 11, 2, 15)
    assert todo["SUBJECT"] == "Нет ответа на письмо «Осенняя (распродажа)»"
    assert todo["DESCRIPTION"].split("\n") == [
        "Письмо «Осенняя (распродажа)» открыто 28.10.2026, ответа с тех пор нет.",
        "Карточка: [URL=/crm/contact/details/3/]открыть[/URL]",
        "Письмо: [URL=/marketing/letter/edit/5/]открыть[/URL]",
        noted["follow_up_key"],
    ]
    assert (noted["letter_id"], noted["person_id"], noted["card_id"]) == ("bitrix:5", "p1", 3)


def test_there_is_never_a_second_one(crm: Crm) -> None:
    """Not tomorrow, not when it was done or deleted, not when the ledger of confirmations is lost."""
    crm.unanswered("p1")
    crm.follow_up()
    before = len(crm.lines())
    crm.later(days=1)
    assert crm.follow_up().planned == 0
    assert len(crm.lines()) == before
    crm.change_site("update b_crm_act set COMPLETED = 'Y'")
    crm.execute("truncate ops.acknowledged")
    result = crm.follow_up()
    assert (result.planned, result.already_ok) == (1, 1)
    crm.change_site("delete from b_crm_act")
    assert crm.follow_up().planned == 0
    assert crm.todos() == []


def test_nobody_is_to_ring_somebody_who_was_erased(crm: Crm) -> None:
    """Their opens are still counted, under a pseudonym."""
    crm.unanswered("p1", card_id=3)
    crm.unanswered("p2", card_id=3, card_type="lead")
    crm.erased(contact=[3])
    crm.follow_up()
    (noted,) = crm.query("select card_type from ops.follow_ups")
    assert noted == {"card_type": "lead"}


def test_another_letter_is_another_matter(crm: Crm) -> None:
    """Once per letter and person; a letter of an ESP has no page in Bitrix."""
    crm.unanswered("p1")
    crm.follow_up()
    crm.execute("truncate marts.mart_crm_follow_ups")
    crm.unanswered("p1", "mailchimp:c1", letter_number=None)
    assert crm.follow_up().applied == 1
    assert "marketing" not in crm.todos()[1]["DESCRIPTION"]


def test_a_joined_person_is_the_same_person(crm: Crm) -> None:
    """Two cards turned out to be one person: the to-do about the letter was made already."""
    crm.unanswered("p1", card_id=1)
    crm.follow_up()
    crm.execute("truncate marts.mart_crm_follow_ups")
    crm.execute("insert into marts.dim_person_redirect values ('p1', 'p9')")
    crm.unanswered("p9", card_id=2)
    assert crm.follow_up().planned == 0
    crm.execute("truncate marts.dim_person_redirect, marts.mart_crm_follow_ups")
    crm.unanswered("p8", card_id=1)
    assert crm.follow_up().planned == 0
    crm.unanswered("p7", card_id=2)
    assert crm.follow_up().applied == 1


def test_a_manager_is_not_buried(crm: Crm) -> None:
    """So many new ones in 24 hours for each, the first in line first; the rest another day."""
    for place in range(1, 7):
        crm.unanswered(f"a{place}", card_id=place, place=place, responsible_id=7)
        crm.unanswered(f"b{place}", card_id=10 + place, place=place, responsible_id=8)
    assert crm.follow_up(per_day=2).applied == 4
    assert of_cards(crm) == [1, 2, 11, 12]
    crm.later(hours=1)
    assert crm.follow_up(per_day=2).planned == 0
    crm.later(hours=24)
    assert crm.follow_up(per_day=2).applied == 4
    assert of_cards(crm) == [1, 2, 3, 4, 11, 12, 13, 14]
    assert crm.follow_up(per_day=0).planned == 0


def test_who_answered_meanwhile_gets_none(crm: Crm) -> None:
    """Noted, but never made: the mart has the last word."""
    crm.unanswered("p1")
    crm.fault("drop_before", path="batch", skip=1, times=FOREVER)
    with pytest.raises(TemporaryApiError):
        crm.follow_up()
    crm.mend()
    crm.execute("truncate marts.mart_crm_follow_ups")
    assert crm.follow_up().planned == 0
    assert crm.todos() == []


def test_a_dry_run_notes_nothing(crm: Crm) -> None:
    """Neither on the portal nor in our memory."""
    crm.unanswered("p1")
    result = crm.follow_up(dry_run=True)
    assert (result.planned, result.held) == (1, 1)
    assert crm.lines() == []
    assert crm.query("select * from ops.follow_ups") == []


def test_old_marts_make_no_work(crm: Crm) -> None:
    """He may have answered since."""
    crm.unanswered("p1")
    crm.now += timedelta(days=2)
    with pytest.raises(BrakeApplied):
        crm.follow_up()
    assert crm.lines() == []


def test_a_refused_card_is_told(crm: Crm) -> None:
    """The lead is gone: rejected with the portal's code, once."""
    crm.unanswered("p1", card_type="lead", card_id=999_999)
    crm.unanswered("p2", card_type="lead", card_id=2)
    result = crm.follow_up()
    assert (result.applied, result.rejected) == (1, 1)
    (refused,) = crm.query("select reason from ops.sync_records where outcome = 'rejected'")
    assert refused["reason"].endswith("OWNER_NOT_FOUND")
    assert crm.follow_up().planned == 0


@pytest.mark.parametrize("fault", ["drop_after_write", "drop_before"])
def test_a_lost_answer_makes_no_second_one(crm: Crm, fault: str) -> None:
    """The addition is not repeated; it is looked for, and made by the next run when it is not there."""
    for number in range(1, 61):
        crm.unanswered(f"p{number}", card_id=number, place=number, responsible_id=number)
    crm.fault(fault, path="batch", skip=2, times=1)
    try:
        crm.follow_up()
    except TemporaryApiError:
        crm.follow_up()
    assert of_cards(crm) == list(range(1, 61))
    assert crm.unbalanced() == []


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_any_call_there_is_one_each(crm: Crm, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call of the push in turn."""
    for dies_at in count(1):
        crm.execute("truncate marts.mart_crm_follow_ups")
        crm.change_site("delete from b_crm_act", "delete from b_crm_act_bind")
        crm.unanswered("p1", f"bitrix:{dies_at}")
        crm.execute(
            """
            insert into marts.mart_crm_follow_ups
            select %s || ':p' || card, letter_id, letter, letter_number, 'p' || card, card_type, card,
                card * 100 + %s, opened_at, place
            from marts.mart_crm_follow_ups, generate_series(2, 60) as card
            """,
            [f"bitrix:{dies_at}", dies_at],
        )
        rest = crm.rest()
        _die(rest, dies_at, moment, monkeypatch)
        try:
            crm.follow_up(rest)
            break
        except Killed:
            crm.follow_up()
        assert of_cards(crm) == list(range(1, 61))
        assert crm.follow_up().planned == 0
        assert crm.unbalanced() == []
    assert dies_at > 3
