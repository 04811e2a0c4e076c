"""Through every door that somebody can come back by: the real loaders, the real receiver, the real page's function."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import psycopg
from bench.relay.site import accounts, event, mail, told
from tests.contract.mailchimp_service import MailchimpService
from tests.erasure.conftest import CARD, EMAIL, KEY, Scene, as_role
from tests.erasure.residue import residue, traces_of
from tests.inbox.conftest import asking, webhooks
from tests.inbox.test_store import use

from lettertrail.clock import fixed_clock
from lettertrail.erasure.erase import Approval, erase_person
from lettertrail.erasure.keep import is_anybody_erased, keep_erased
from lettertrail.erasure.tell import Others, Sender
from lettertrail.inbox.app import create_app
from lettertrail.inbox.process import process_deliveries
from lettertrail.inbox.store import PostgresStore
from lettertrail.preferences.applied import note_choices
from lettertrail.warehouse.load_esp import load_account

AT = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
CLOCK = fixed_clock(AT)


def erase(house: Scene) -> None:
    done = erase_person(
        house.eraser_dsn,
        KEY,
        f"contact:{CARD}",
        Others(),
        case="T-1",
        approval=Approval("7", AT),
        run_id="run",
        clock=CLOCK,
    )
    assert done is not None
    assert left(house) == {}


def left(house: Scene) -> dict[str, int]:
    """Where the address stands, in whatever form."""
    with psycopg.connect(house.dsn) as connection:
        return dict(residue(connection, traces_of([EMAIL], []), but=f"x{EMAIL}"))


def keep(house: Scene, sender: Sender | None = None) -> dict[str, int]:
    return keep_erased(house.eraser_dsn, KEY, lambda account: sender, run_id="build", clock=CLOCK)


def send(house: Scene, *events: dict[str, object]) -> None:
    """The site tells something, as the role that faces the internet."""
    hook = told(events, unix=int(AT.timestamp()))

    async def work(store: PostgresStore) -> None:
        app = create_app(store, webhooks(accounts()), clock=CLOCK)
        assert (await asking(app, "POST", hook.path, hook.body, hook.headers)).status == 200

    use(as_role(house, "inbox"), work)


def test_by_a_poll_of_the_service(house: Scene, mailchimp: MailchimpService) -> None:
    """The service still mails them: it is told to stop, here the address goes again, and again after the next poll."""
    erase(house)
    for is_whole in (False, True):
        load_account(mailchimp.adapter(), as_role(house, "loader"), run_id="poll", clock=CLOCK, is_whole=is_whole)
        assert "raw_esp.contacts.email" in left(house)
        keep(house, mailchimp.adapter())
        assert left(house) == {}
        assert mailchimp.status_of(EMAIL) == "unsubscribed"
    members = house.query("select _deleted_at from raw_esp.contacts where email = %s", [KEY.email(EMAIL)])
    assert all(row["_deleted_at"] for row in members), "nobody is to suppress a pseudonym at a service"


def test_by_what_the_site_tells(house: Scene) -> None:
    """The event stays and says nobody's name; the delivery keeps no byte of it; a letter to them is not sent."""
    erase(house)
    send(house, event(1, "unsubscribe", email=EMAIL.upper()), mail(2, to=EMAIL), event(3, "order", order_id=3))
    process_deliveries(as_role(house, "loader"), run_id="inbox", clock=CLOCK)
    assert {name.rpartition(".")[0] for name in left(house)} == {
        "raw_inbox.site_events", "raw_inbox.deliveries", "ops.outbox"
    }  # fmt: skip

    keep(house)

    assert left(house) == {}
    (unsubscribed,) = house.query("select data from raw_inbox.site_events where event_type = 'unsubscribe'")
    assert unsubscribed["data"] == {"email": KEY.email(EMAIL)}
    (letter,) = house.query("select state, reason, recipient, body from ops.outbox")
    assert letter == {"state": "suppressed", "reason": "erased", "recipient": None, "body": None}


def test_by_the_preference_page(house: Scene) -> None:
    """An old link is nobody's; through one that was made since, the choice is a pseudonym's."""
    (old,) = house.query("insert into ops.links (email, made_at) values (%s, %s) returning link_id", [EMAIL, AT])
    erase(house)
    choose = "select is_known from raw_inbox.choose(%s, 'one_click', '{}', '{news}', 'en', null, null, %s)"
    assert house.query(choose, [old["link_id"], AT]) == [{"is_known": False}]
    (new,) = house.query("insert into ops.links (email, made_at) values (%s, %s) returning link_id", [EMAIL, AT])
    assert house.query(choose, [new["link_id"], AT]) == [{"is_known": True}]
    assert note_choices(as_role(house, "loader"), run_id="inbox", clock=CLOCK) == 1

    keep(house)

    assert left(house) == {}
    assert house.query("select email from raw_inbox.choices") == [{"email": KEY.email(EMAIL)}]
    assert house.query("select from ops.links") == []


def test_by_a_row_that_cannot_be_read(house: Scene) -> None:
    """Its bytes are kept as hex, in which no search for a text finds an address."""
    erase(house)
    load = house.load("raw_bitrix.b_sender_contact")
    house.execute(
        "insert into ops.quarantine (load_id, target, reason, record, raw, quarantined_at)"
        " values (%s, 'raw_bitrix.b_sender_contact', 'no text', '{}', %s, %s)",
        [load, json.dumps({"code": EMAIL.encode().hex(), "name": "ff"}), AT],
    )
    assert left(house)
    keep(house)
    assert left(house) == {}


def test_into_the_models_when_a_load_ended_during_a_build(house: Scene) -> None:
    """Then they are looked for everywhere, not in raw tables alone."""
    erase(house)
    house.execute("insert into intermediate.int_identifiers_joined values ('email:x', 'email', %s, null)", [EMAIL])
    house.execute("insert into marts.dim_person (person_id, primary_email) values ('email:x', %s)", [EMAIL])
    send(house, event(1, "subscribe", email=EMAIL))
    process_deliveries(as_role(house, "loader"), run_id="inbox", clock=CLOCK)
    keep(house)
    assert left(house) == {}


def test_nobody_else_is_touched_and_nothing_is_noted_when_nobody_came_back(house: Scene) -> None:
    """The address of another that ends alike stays as it came."""
    erase(house)
    send(house, event(1, "subscribe", email=f"x{EMAIL}"))
    process_deliveries(as_role(house, "loader"), run_id="inbox", clock=CLOCK)
    before = house.query("select count(*) from ops.loads")
    assert keep(house) == {}
    assert house.query("select count(*) from ops.loads") == before
    assert house.query("select data from raw_inbox.site_events") == [{"data": {"email": f"x{EMAIL}"}}]


def test_whether_there_is_anybody_to_keep_away(house: Scene) -> None:
    """Asked before every build, by the role that loads, which may know no more."""
    loader = as_role(house, "loader")
    assert not is_anybody_erased(loader)
    erase(house)
    assert is_anybody_erased(loader)
