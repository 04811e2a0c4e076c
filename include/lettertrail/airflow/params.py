"""The typed params of the DAGs that people start by hand."""

from __future__ import annotations

from airflow.sdk import Param

from lettertrail.bitrix.catalog import load_catalog
from lettertrail.erasure.keys import REFERENCE
from lettertrail.settings import Settings

DRY_RUN = Param(
    Settings.from_env().dry_run,
    type="boolean",
    description="Plan and record, but send nothing. The default is LETTERTRAIL_DRY_RUN (true unless set otherwise).",
)
RELEASE_BRAKE = Param(
    False,
    type="boolean",
    description="Let through whatever the brake would hold in this run. An answer in approve_held has a ceiling; "
    "this has none.",
)
AUDIENCES_PER_ACCOUNT = Param(
    None,
    type=["null", "integer"],
    minimum=1,
    description="Read back so many audiences of each account, those first that were not read for longest; empty: all.",
)
SINCE = Param(
    None,
    type=["null", "string"],
    format="date-time",
    description="Read everything that happened after this time; empty: go on where the warehouse is.",
)
UNTIL = Param(
    None,
    type=["null", "string"],
    format="date-time",
    description="The end of the window; empty: now. Where the hourly run goes on does not depend on it.",
)
BACKFILL = Param(False, type="boolean", description="Read everything again that the service still knows.")
KEY_LOW = Param(None, type=["null", "integer"], description="First key to read again; empty: from the beginning.")
KEY_HIGH = Param(None, type=["null", "integer"], description="The key to stop before; empty: to the end.")
DRY_RELOAD = Param(
    True, type="boolean", description="Only say what would be read and what differs; the warehouse stays as it is."
)


PERSON = Param(
    type="string",
    pattern=f"^({REFERENCE})$",
    description="Whom: a card in Bitrix (contact:17, lead:17, user:17), or key:… as `scripts/lettertrail reference` "
    "says it of an address. Never an address: Airflow keeps params for as long as it keeps runs.",
)
CASE = Param(
    type="string",
    pattern=r"^[^@]{1,100}$",
    description="Where the request is on file, such as a ticket's number; goes into the proof. No name, no address.",
)
IN_BITRIX = Param(
    True,
    type="boolean",
    description="Also empty the contact and lead cards by REST; no where somebody does that in Bitrix by hand.",
)
DRY_ERASURE = Param(
    True, type="boolean", description="Only count what would be erased where; nothing is changed and nobody is asked."
)


def table_param() -> Param:
    """One table of the catalog."""
    names = _table_names()
    return Param(names[0], type="string", enum=names, description="A table of the catalog.")


def tables_param() -> Param:
    """Any number of tables of the catalog; none means all."""
    names = _table_names()
    return Param(
        [],
        type="array",
        items={"type": "string", "enum": names},
        examples=names,
        description="Tables of the catalog; empty: all of them.",
    )


def _table_names() -> list[str]:
    return sorted(entry.name for entry in load_catalog())
