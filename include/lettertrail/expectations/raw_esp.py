"""Door 1, ESPs: did the adapters understand what the services said?

The database itself keeps keys unique and words within the vocabulary (`warehouse/migrations`), so what is left to ask
is how much was not understood, whether times and references make sense, and whether anything is missing. Each account
has a suite of its own, so that the verdict names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from psycopg import sql

from lettertrail.expectations.rhythm import Stream, rhythm
from lettertrail.expectations.suite import Expectation, Suite, between, computed_once, not_empty, not_null
from lettertrail.expectations.volumes import volumes
from lettertrail.warehouse.connect import Connection

SCHEMA = "raw_esp"
MAX_UNKNOWN_SHARE = 0.01
"""Words the adapter did not know: more than this means that the service changed its vocabulary."""
MAX_ORPHAN_SHARE = 0.05
CLOCK_TOLERANCE = timedelta(minutes=10)
"""Services' clocks are not ours."""
COUNTED = ("campaigns", "contacts", "events")
"""The streams whose history must not vanish; lists, totals and links are few and come and go with campaigns."""

# What is wrong with a row, by the name of the figure: once to count it, once to keep it.
CONTACT_FAULTS = {
    "odd_addresses": "email is null or email <> lower(btrim(email))",
    "unknown_contacts": "status = 'unknown'",
    "contacts_in_future": "changed_at > {latest} or opted_in_at > {latest}",
}
EVENT_FAULTS = {
    "unknown_events": "event.event_type = 'unknown' and event.source <> 'webhook'",
    "events_in_future": "event.occurred_at > {latest}",
    "undated_events": "event.occurred_at is null and event.source <> 'snapshot'",
    "nobodys_events": "event.email is null and event.contact_id is null",
    # a webhook may be quicker than the poll that brings its letter
    "orphan_events": "event.campaign_id is not null and campaign.external_id is null and event.source <> 'webhook'",
    "events_before_their_letter": "event.occurred_at < campaign.sent_at - interval '1 hour'",
}


def suites(connection: Connection, at: datetime, zone: ZoneInfo) -> list[Suite]:
    """What holds for all accounts together, then three suites per account: rows, volumes and rhythm.

    `zone` is the one of the site: the company's days, whatever the service's servers count by.
    """
    found = [_all_campaigns(), _all_contacts()]
    for esp, account in _accounts(connection):
        found.append(_rows(connection, esp, account, at))
        targets = [(table, f"{SCHEMA}.{table}:{account}") for table in COUNTED]
        found.append(volumes(connection, f"{SCHEMA}.{account}.volumes", targets, at))
        found.append(rhythm(connection, f"{SCHEMA}.{account}.rhythm", [_events(connection, esp, account)], at, zone))
    return found


def _all_campaigns() -> Suite:
    return Suite(
        name=f"{SCHEMA}.campaigns",
        relation="raw_esp.campaigns",
        expectations=tuple(not_null("external_id", "status")),
    )


def _all_contacts() -> Suite:
    """An account may be new and empty; none with a contact means that nothing was read."""
    return Suite(
        name=f"{SCHEMA}.contacts",
        query="select 1 as one from raw_esp.contacts where _deleted_at is null limit 1",
        expectations=(not_empty(),),
    )


def _rows(connection: Connection, esp: str, account: str, at: datetime) -> Suite:
    ours = sql.SQL("esp = {} and account = {} and _deleted_at is null").format(sql.Literal(esp), sql.Literal(account))
    sources = {
        "contacts": sql.SQL("raw_esp.contacts where {}").format(ours),
        "events": sql.SQL(
            "(select * from raw_esp.events where {}) as event left join raw_esp.campaigns as campaign"
            " on event.esp = campaign.esp and event.account = campaign.account"
            " and event.campaign_id = campaign.external_id where true"
        ).format(ours),
    }
    latest = sql.Literal(at + CLOCK_TOLERANCE)
    contact_faults, event_faults = _conditions(CONTACT_FAULTS, latest), _conditions(EVENT_FAULTS, latest)
    figures = sql.SQL("select * from (select {} from {}) as contacts cross join (select {} from {}) as events").format(
        _shares(contact_faults), sources["contacts"], _shares(event_faults), sources["events"]
    )
    behind = {
        **{name: _select("*", sources["contacts"], condition) for name, condition in contact_faults.items()},
        **{name: _select("event.*", sources["events"], condition) for name, condition in event_faults.items()},
    }
    return Suite(
        name=f"{SCHEMA}.{account}",
        query=computed_once(figures.as_string(connection)),
        rows_behind={name: query.as_string(connection) for name, query in behind.items()},
        expectations=_limits(),
    )


def _limits() -> tuple[Expectation, ...]:
    """Shares for what may happen now and then, none at all of what cannot be."""
    return (
        between("odd_addresses", at_most=0),
        between("unknown_contacts", at_most=MAX_UNKNOWN_SHARE),
        between("contacts_in_future", at_most=0),
        between("unknown_events", at_most=MAX_UNKNOWN_SHARE),
        between("events_in_future", at_most=0),
        between("undated_events", at_most=MAX_UNKNOWN_SHARE),
        between("nobodys_events", at_most=0),
        between("orphan_events", at_most=MAX_ORPHAN_SHARE),
        between("events_before_their_letter", at_most=0, warn_only=True),
    )


def _conditions(faults: Mapping[str, str], latest: sql.Literal) -> dict[str, sql.Composed]:
    texts = {name: sql.SQL(text) for name, text in faults.items()}
    return {name: text.format(latest=latest) for name, text in texts.items()}


def _shares(faults: Mapping[str, sql.Composed]) -> sql.Composed:
    """How many of the rows have each fault; an account without rows has no share."""
    share = sql.SQL("count(*) filter (where {})::float / nullif(count(*), 0) as {}")
    return sql.SQL(", ").join(share.format(condition, sql.Identifier(name)) for name, condition in faults.items())


def _select(columns: str, source: sql.Composed, condition: sql.Composed) -> sql.Composed:
    return sql.SQL("select {} from {} and ({})").format(
        sql.SQL(columns),
        source,
        condition,
    )


def _events(connection: Connection, esp: str, account: str) -> Stream:
    condition = sql.SQL("esp = {} and account = {} and source <> 'snapshot'").format(
        sql.Literal(esp), sql.Literal(account)
    )
    return Stream(
        "events",
        f"{SCHEMA}.events",
        "occurred_at",
        is_naive=False,
        condition=condition.as_string(connection),
    )


def _accounts(connection: Connection) -> list[tuple[str, str]]:
    """The accounts anything is known of."""
    rows = connection.execute(
        "select esp, account from raw_esp.campaigns union select esp, account from raw_esp.contacts"
        " union select esp, account from raw_esp.events order by 1, 2"
    )
    return [(str(esp), str(account)) for esp, account in rows]
