"""Door 1, ESPs: did the adapters understand what the services said?

The database itself keeps keys unique and words within the vocabulary (`warehouse/migrations`), so what is left to ask
is how much was not understood, and whether times and references make sense.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from lettertrail.expectations.suite import Suite, between, computed_once, not_empty, not_null
from lettertrail.warehouse.connect import Connection

SCHEMA = "raw_esp"
MAX_UNKNOWN_SHARE = 0.01
"""Words the adapter did not know: more than this means that the service changed its vocabulary."""
MAX_ORPHAN_SHARE = 0.05
CLOCK_TOLERANCE = timedelta(minutes=10)
"""Services' clocks are not ours."""


def suites(connection: Connection, at: datetime) -> list[Suite]:
    """One suite per table and one about how they fit; all accounts together, each account judged by itself."""
    latest = (at + CLOCK_TOLERANCE).isoformat()
    return [
        Suite(
            name=f"{SCHEMA}.campaigns",
            relation="raw_esp.campaigns",
            expectations=tuple(not_null("external_id", "status")),
        ),
        Suite(
            name=f"{SCHEMA}.contacts",
            query=computed_once(
                f"""
                select
                    count(*) as contacts,
                    count(*) filter (where email is null or email <> lower(btrim(email))) as odd_addresses,
                    count(*) filter (where status = 'unknown')::float / count(*) as unknown_share,
                    count(*) filter (where changed_at > '{latest}') as changed_in_future
                from raw_esp.contacts
                where _deleted_at is null
                group by esp, account
            """  # noqa: S608
            ),
            expectations=(
                not_empty(),
                between("odd_addresses", at_most=0),
                between("unknown_share", at_most=MAX_UNKNOWN_SHARE),
                between("changed_in_future", at_most=0),
            ),
        ),
        Suite(
            name=f"{SCHEMA}.events",
            query=computed_once(
                f"""
                select
                    count(*) filter (where event.event_type = 'unknown' and event.source <> 'webhook')::float / count(*)
                        as unknown_share,
                    count(*) filter (where event.occurred_at > '{latest}') as in_future,
                    count(*) filter (where event.occurred_at is null and event.source <> 'snapshot')::float / count(*)
                        as undated_share,
                    count(*) filter (where event.email is null and event.contact_id is null) as nobodys,
                    -- a webhook may be quicker than the poll that brings its letter
                    count(*) filter (
                        where event.campaign_id is not null
                            and campaign.external_id is null
                            and event.source <> 'webhook'
                    )::float / count(*) as orphan_share,
                    count(*) filter (where event.occurred_at < campaign.sent_at - interval '1 hour')
                        as before_their_letter
                from raw_esp.events as event
                left join raw_esp.campaigns as campaign
                    on event.esp = campaign.esp
                        and event.account = campaign.account
                        and event.campaign_id = campaign.external_id
                where event._deleted_at is null
                group by event.esp, event.account
            """  # noqa: S608
            ),
            expectations=(
                between("unknown_share", at_most=MAX_UNKNOWN_SHARE),
                between("in_future", at_most=0),
                between("undated_share", at_most=MAX_UNKNOWN_SHARE),
                between("nobodys", at_most=0),
                between("orphan_share", at_most=MAX_ORPHAN_SHARE),
                between("before_their_letter", at_most=0, warn_only=True),
            ),
        ),
    ]
