"""The sample world is repeatable, obeys its own rules, and its letters earn what the truth says."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from lettertrail.errors import ConfigurationError
from lettertrail.sandbox.world import World, generate, truth_report

FRAMES = (
    *("people", "companies", "cards", "letters", "dispatches", "sends", "queued"),
    *("events", "minds", "leads", "deals", "orders", "truth"),
)
AS_OF = date(2026, 11, 1)


@pytest.fixture(scope="module")
def world() -> World:
    """A world of 2 000 people."""
    return generate(seed=3, scale=0.1, as_of=AS_OF)


def digest(world: World) -> str:
    """One hash over every value of every frame."""
    total = hashlib.sha256()
    for name in FRAMES:
        frame = getattr(world, name)
        total.update(name.encode() + frame.to_csv(index=False).encode())
    return total.hexdigest()


def test_the_same_arguments_give_the_same_world_in_another_process() -> None:
    """No hash seed, set order or process state leaks in."""
    code = (
        "from datetime import date; from lettertrail.sandbox.world import generate; "
        "from tests.sandbox.test_world import digest; "
        "print(digest(generate(seed=5, scale=0.02, as_of=date(2026, 11, 1))))"
    )
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONHASHSEED": "12345", "PYTHONPATH": f"{root}{os.pathsep}{root / 'include'}"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, cwd=root
    )
    assert done.stdout.strip() == digest(generate(seed=5, scale=0.02, as_of=AS_OF))


def test_another_seed_gives_another_world(world: World) -> None:
    """The seed decides."""
    assert digest(generate(seed=4, scale=0.1, as_of=AS_OF)) != digest(world)


def test_a_tiny_scale_is_refused() -> None:
    """Below 100 people the world would miss the cases it exists for."""
    with pytest.raises(ConfigurationError, match="scale"):
        generate(seed=1, scale=0.001, as_of=AS_OF)


def test_the_contract_of_the_frames(world: World) -> None:
    """80 letters at any scale, ids from 1, aware UTC times, unique lower-case addresses."""
    assert world.letters["letter"].tolist() == list(range(1, 81))
    assert world.letters["channel"].value_counts().to_dict() == {"bitrix": 70, "mailchimp": 10}
    for name, key in (
        ("people", "person"),
        ("sends", "send"),
        ("events", "event"),
        ("leads", "lead"),
        ("deals", "deal"),
    ):
        frame = getattr(world, name)
        assert frame[key].tolist() == list(range(1, len(frame) + 1))
    assert str(world.sends["sent_at"].dtype) == "datetime64[ns, UTC]"
    assert world.people["email"].is_unique
    assert (world.people["email"] == world.people["email"].str.lower()).all()
    assert (world.people["email_as_typed"] != world.people["email"]).any()
    assert (world.people["email_as_typed"].str.strip().str.lower() == world.people["email"]).all()
    assert set(world.people["mailchimp_status"].dropna()) == {"subscribed", "unsubscribed", "cleaned"}


def test_nothing_happens_outside_the_world(world: World) -> None:
    """All times lie before `as_of` 00:00 in Moscow, and no letter precedes its reader."""
    for frame, column in (
        ("sends", "sent_at"),
        ("events", "occurred_at"),
        ("leads", "created_at"),
        ("deals", "closed_at"),
    ):
        assert getattr(world, frame)[column].max() < world.ended_at
    known = world.sends["person"].map(world.people.set_index("person")["created_at"])
    assert (world.sends["sent_at"] >= known).all()
    events = world.events.merge(world.sends, on="send")
    assert (events["occurred_at"] >= events["sent_at"]).all()
    assert (events["outcome"] == "delivered").all()


def test_machines_are_quick_and_people_are_not(world: World) -> None:
    """Apple's proxy opens within a minute, scanners click every link within 15 s, people take longer."""
    events = world.events.merge(world.sends[["send", "sent_at", "letter"]], on="send")
    seconds = (events["occurred_at"] - events["sent_at"]).dt.total_seconds()
    apple = events["actor"] == "apple_proxy"
    scanner = events["actor"] == "scanner"
    assert (seconds[apple] <= 60).mean() > 0.85
    assert seconds[scanner].between(1, 15).all()
    assert (seconds[~apple & ~scanner & (events["kind"] == "open")] > 120).mean() > 0.99
    links = world.letters.set_index("letter")["urls"].map(len)
    # The last letter is cut off by the end of the world.
    scans = events[scanner & (events["kind"] == "click") & (events["letter"] != 70)]
    clicked = scans.groupby(["send", "letter"])["url"].nunique().reset_index()
    assert len(clicked) > 100
    assert (clicked["url"] == clicked["letter"].map(links)).all()
    share = world.people["apple_mail"].mean()
    assert 0.1 < share < 0.3


def test_a_click_never_comes_before_an_open(world: World) -> None:
    """Who clicks has opened, at the latest in the same second."""
    times = world.events.pivot_table(index="send", columns="kind", values="occurred_at", aggfunc="min", observed=True)
    clicked = times[times["click"].notna()]
    assert len(clicked) > 500
    assert (clicked["open"] <= clicked["click"]).all()


def test_nobody_gets_a_letter_after_a_refusal(world: World) -> None:
    """After leaving a campaign, complaining or bouncing, that address gets nothing more of it."""
    sends = world.sends.merge(world.letters[["letter", "channel", "campaign"]], on="letter")
    bitrix = sends[sends["channel"] == "bitrix"]
    events = world.events[world.events["kind"].isin(["unsubscribe", "complaint"])].merge(bitrix, on="send")
    left = events[events["kind"] == "unsubscribe"].groupby(["email", "campaign"])["occurred_at"].min().rename("left_at")
    back = world.minds[world.minds["how"] != "consent_unflipped"].groupby(["email", "campaign"])["at"].min()
    later = bitrix.merge(left.reset_index(), on=["email", "campaign"]).merge(
        back.rename("back_at").reset_index(), on=["email", "campaign"], how="left"
    )
    assert len(left) > 20
    assert not ((later["sent_at"] > later["left_at"]) & ~(later["sent_at"] >= later["back_at"])).any()
    complained = events[events["kind"] == "complaint"].groupby("email")["occurred_at"].min()
    bounced = bitrix[bitrix["outcome"] == "hard_bounce"].groupby("email")["bounced_at"].min()
    for stop in (complained, bounced):
        assert len(stop)
        assert not (bitrix["sent_at"] > bitrix["email"].map(stop)).any()
    mailchimp = sends[sends["channel"] == "mailchimp"]
    gone = world.events[world.events["kind"].isin(["unsubscribe", "complaint"])].merge(mailchimp, on="send")
    assert not (mailchimp["sent_at"] > mailchimp["person"].map(gone.groupby("person")["occurred_at"].min())).any()


def test_changed_addresses_are_written_to_under_the_address_of_the_time(world: World) -> None:
    """Before the change the former address, afterwards the present one."""
    changed = world.people[world.people["former_email"].notna()]
    sends = world.sends.merge(
        changed[["person", "email", "former_email", "email_changed_at"]], on="person", suffixes=("", "_now")
    )
    before = sends["sent_at"] < sends["email_changed_at"]
    assert before.any()
    assert (~before).any()
    assert (sends["email"][before] == sends["former_email"][before]).all()
    assert (sends["email"][~before] == sends["email_now"][~before]).all()


def test_the_truth_is_causal(world: World) -> None:
    """Every causing letter was clicked by that person, by hand, before the conversion."""
    clicks = world.events[(world.events["kind"] == "click") & (world.events["actor"] == "human")].merge(
        world.sends[["send", "person", "letter"]], on="send"
    )
    first = clicks.groupby(["person", "letter"])["occurred_at"].min()
    leads = world.leads[world.leads["causes"].map(len) > 0]
    assert len(leads) > 20
    for person, created_at, letters in zip(leads["person"], leads["created_at"], leads["causes"], strict=True):
        assert all(first[person, letter] < created_at for letter in letters)
    of_lead = world.deals[world.deals["lead"].notna()].merge(world.leads, on="lead", suffixes=("", "_lead"))
    assert (of_lead["causes"] == of_lead["causes_lead"]).all()
    assert (of_lead["created_at"] >= of_lead["created_at_lead"]).all()


def test_last_click_overstates_what_letters_earned(world: World) -> None:
    """Organic leads of keen readers follow clicks too, so that the naive share is above the true one."""
    clicks = world.events[(world.events["kind"] == "click") & (world.events["actor"] == "human")].merge(
        world.sends[["send", "person"]], on="send"
    )
    near = pd.merge_asof(
        world.leads.sort_values("created_at"),
        clicks[["person", "occurred_at"]].sort_values("occurred_at"),
        left_on="created_at",
        right_on="occurred_at",
        by="person",
        tolerance=pd.Timedelta(days=30),
    )
    naive = near["occurred_at"].notna().mean()
    true = (world.leads["causes"].map(len) > 0).mean()
    assert 0.15 < true < naive < 0.9


def test_money_is_exact_and_converted_at_the_frozen_rate(world: World) -> None:
    """Amounts are decimals of two digits; foreign deals carry their rate."""
    for amount, rate, base, currency in zip(
        *(world.deals[name] for name in ("amount", "exchange_rate", "amount_base", "currency")), strict=True
    ):
        assert isinstance(amount, Decimal)
        assert base == (amount * rate).quantize(Decimal("0.01"), "ROUND_HALF_UP")
        assert (currency == "RUB") == (rate == 1)
    assert set(world.deals["currency"]) == {"RUB", "EUR", "USD"}


def test_the_answer_sheet_adds_up(world: World, tmp_path: Path) -> None:
    """truth.json uses warehouse letter ids, and its parts sum to its totals."""
    world.write(tmp_path)
    truth = json.loads((tmp_path / "truth.json").read_text(encoding="utf-8"))
    assert truth == json.loads(json.dumps(truth_report(world)))
    assert json.loads((tmp_path / "world.json").read_text()) == {"seed": 3, "scale": 0.1, "as_of": "2026-11-01"}
    won = world.deals[world.deals["stage"] == "won"]
    assert truth["totals"]["deal_won"]["amount"] == str(sum(won["amount_base"], Decimal(0)))
    assert truth["totals"]["lead_created"]["count"] == len(world.leads)
    leads = sum(part["leads"] for part in truth["letters"].values())
    assert leads == pytest.approx(truth["totals"]["lead_created"]["caused_count"], abs=0.1)
    counted = sum(n for kinds in truth["events"].values() for actors in kinds.values() for n in actors.values())
    assert counted == len(world.events)
    spelled = {letter for row in truth["conversions"] for letter in row["letters"]}
    assert any(letter.startswith("bitrix:") for letter in spelled)
    assert {letter for letter in spelled if letter.startswith("mailchimp")} <= {
        f"mailchimp:mailchimp:{letter:010x}" for letter in range(71, 81)
    }
