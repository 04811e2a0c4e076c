"""A choice on the preference page, followed from the form to the service that has to respect it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from tests.contract.mailchimp_service import MailchimpService, mailchimp_service
from tests.dbt.conftest import Built, copy_of_the_built
from tests.dbt.dbt_runs import RUN_AT, RepeatedDbt
from tests.preferences.conftest import LINKS, PASSWORD, House
from tests.sandbox.small import KEY

from lettertrail.audiences.push import SyncResult, sync_suppressions
from lettertrail.clock import fixed_clock
from lettertrail.esps.mailchimp import Mailchimp
from lettertrail.esps.port import AccountConnection
from lettertrail.preferences.applied import note_choices
from lettertrail.preferences.push import sync_preferences
from lettertrail.preferences.roster import Signed, sign_links
from lettertrail.warehouse.embedded import EmbeddedPostgres
from lettertrail.warehouse.load_esp import load_account
from lettertrail.warehouse.roles import apply_roles

MODELS = (
    "int_loads", "int_identity_claims", "int_identity_claims_standing", "int_identifiers_linked", "int_identifiers",
    "int_identifiers_joined", "int_suppression_evidence", "int_consent_events", "int_preference_statements",
    "int_page_preferences", "int_preference_sightings", "int_preferences", "dim_person", "fct_suppression_evidence",
    "dim_suppression", "dim_consent", "dim_preference", "fct_consent_events", "mart_preference_page",
    "mart_preference_choices",
)  # fmt: skip
ANN, BOB = "person1@example.com", "person3@example.com"
"""Two who are subscribed at the sandbox."""
ACCOUNT = "mailchimp__shop"
START = datetime.fromisoformat(RUN_AT)


class Life:
    """The small world with a second Mailchimp account, an hour per step."""

    def __init__(self, dsn: str, service: MailchimpService, work_dir: Path) -> None:
        self.house = House(dsn, now=START)
        self.service = service
        self.dbt = RepeatedDbt(dsn, work_dir)
        self.mailchimp = self._connect()

    def _connect(self) -> Mailchimp:
        host = self.service.base.removeprefix("http://")
        connection = AccountConnection(ACCOUNT, self.service.base, password=KEY)
        return Mailchimp.connect(connection, clock=lambda: self.house.now, allowed_hosts=[host])

    def build(self) -> None:
        """Copies the account, and builds what depends on choices."""
        self.house.now += timedelta(hours=1)
        self.service.clock.now = self.house.now
        load_account(self.mailchimp, self.house.dsn, run_id="run", clock=fixed_clock(self.house.now))
        self.dbt.run(*MODELS, run_at=self.house.now.isoformat())
        self.house.run("delete from ops.segments")
        self.house.run("insert into ops.segments values ('seg_x', 'segments.seg_x', '{}', %s)", self.house.now)

    def push(self) -> tuple[SyncResult, SyncResult]:
        """Suppressions first, then what people chose."""
        options: dict[str, Any] = {"run_id": "run", "clock": fixed_clock(self.house.now), "dry_run": False}
        return (
            sync_suppressions(self.mailchimp, self.house.dsn, **options),
            sync_preferences(self.mailchimp, self.house.dsn, **options),
        )

    def sign(self) -> Signed:
        """As the role that pushes, which reads marts; here they are the owner's and not dbt's."""
        self.house.run("grant select on marts.mart_preference_page to lettertrail_sync")
        dsn = psycopg.conninfo.make_conninfo(self.house.dsn, user="lettertrail_sync", password=PASSWORD)
        return sign_links(dsn, LINKS, clock=fixed_clock(self.house.now))

    def link(self, email: str) -> UUID:
        """The number in somebody's links."""
        return UUID(str(self.house.rows("select link_id from ops.links where email = %s", email)[0][0]))

    def states(self, email: str) -> dict[str, str]:
        """What stops letters to an address, by scope."""
        return dict(self.house.rows("select scope, state from marts.dim_suppression where email = %s", email))

    def preferences(self, email: str) -> dict[str, tuple[str, str | None]]:
        """State and source by category."""
        rows = self.house.rows(
            "select category, state, source from marts.dim_preference"
            " join marts.mart_preference_page using (person_id) where email = %s",
            email,
        )
        return {category: (state, source) for category, state, source in rows}


@pytest.fixture(scope="module")
def life(built: Built, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    """After the first build, with links for everybody."""
    assert built
    directory = tmp_path_factory.mktemp("preferences")
    with copy_of_the_built(postgres) as dsn, mailchimp_service(directory) as service:
        apply_roles(dsn, dict.fromkeys(("lettertrail_inbox", "lettertrail_sync"), PASSWORD))
        found = Life(dsn, service, directory / "dbt")
        found.build()
        yield found


def test_a_choice_goes_all_the_way(life: Life) -> None:
    """Leave, come back, choose, refuse elsewhere: at every step what is in the marts and what the service does."""
    house, service = life.house, life.service
    everybody = house.rows("select count(*) from marts.mart_preference_page")[0][0]
    assert life.sign() == Signed(everybody, everybody)
    assert life.sign() == Signed(0, 0)
    life.push()
    assert service.status_of(ANN) == "subscribed"

    # Ann leaves by one click, Bob chooses.
    assert house.ask("POST", f"/unsubscribe/{LINKS.token('unsubscribe', life.link(ANN))}", b"List-Unsubscribe=One-Click"
                     ).status == 200  # fmt: skip
    assert house.save(life.link(BOB), "company_news", "product_updates").status == 200
    assert note_choices(house.dsn, run_id="inbox", clock=fixed_clock(house.now)) == 2
    assert note_choices(house.dsn, run_id="inbox", clock=fixed_clock(house.now)) == 0
    life.build()
    assert life.states(ANN)["everything"] == "unsubscribed"
    refused, chosen = ("sales_and_discounts", "event_invitations"), ("company_news", "product_updates")
    assert life.states(BOB) == dict.fromkeys(refused, "unsubscribed")
    page = "preference_centre"
    assert life.preferences(BOB) == {
        **dict.fromkeys(refused, ("unsubscribed", page)), **dict.fromkeys(chosen, ("subscribed", page))
    }  # fmt: skip
    assert house.rows(
        "select event_type, kind, source, ends_suppression, text_version is not null from marts.fct_consent_events"
        " where source = 'preference_centre' order by event_type"
    ) == [("given", "preference_page", page, True, True), ("withdrawn", "unsubscribed", page, False, False)]

    suppressed, preferred = life.push()
    assert (suppressed.applied, preferred.applied, preferred.rejected) == (1, 1, 0)
    assert (service.status_of(ANN), service.status_of(BOB)) == ("unsubscribed", "subscribed")
    assert interests(life, BOB) == {"Company news", "Product updates"}
    assert [result.planned for result in life.push()] == [0, 0]

    # Ann comes back; nothing of ours subscribes her where she was unsubscribed.
    assert house.save(life.link(ANN), "company_news").status == 200
    # Bob changes his mind in the service's own form.
    choose_there(life, BOB, "Product updates", False)
    life.build()
    assert "everything" not in life.states(ANN)
    assert life.preferences(ANN)["company_news"] == ("subscribed", page)
    assert life.preferences(BOB)["product_updates"] == ("unsubscribed", "mailchimp")
    assert life.preferences(BOB)["company_news"][0] == "subscribed"
    life.push()
    assert service.status_of(ANN) == "unsubscribed"


def interests(life: Life, email: str) -> set[str]:
    """What the service shows somebody to have chosen."""
    (member,) = [one for one in life.mailchimp.contacts(None) if one.email == email]
    return {name for name, value in member.fields.items() if value is True}


def choose_there(life: Life, email: str, name: str, value: bool) -> None:
    """The person uses the service's form."""
    import json  # noqa: PLC0415

    from lettertrail.sandbox.esps.mailchimp import subscriber_hash  # noqa: PLC0415

    row = life.service.store.row("select id from interests where payload like ?", f'%"{name}"%')
    assert row is not None
    with life.service.store.transaction() as db:
        db.execute(
            "update members set interests = json_patch(interests, ?), last_changed = ? where id = ?",
            (json.dumps({row["id"]: value}), life.service.store.now(), subscriber_hash(email)),
        )
