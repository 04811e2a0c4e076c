"""The assets that link the DAGs: each leg starts when the one before it has told the truth."""

from __future__ import annotations

from airflow.sdk import Asset, AssetWatcher

from lettertrail.airflow.inbox import InboxTrigger

RAW_BITRIX = Asset(name="raw_bitrix", uri="lettertrail://warehouse/raw_bitrix")
"""Every Bitrix table of the catalog was copied and the ledger balances."""

MARTS = Asset(name="marts", uri="lettertrail://warehouse/marts")
"""Both doors and all dbt tests passed; marts and segments are of this run."""

INBOX_APPLIED = Asset(name="inbox_applied", uri="lettertrail://warehouse/raw_inbox/applied")
"""Webhooks told something new, and it is in raw_esp."""

PERSON_ERASED = Asset(name="person_erased", uri="lettertrail://warehouse/erased")
"""A person was erased; the models that were being built meanwhile are to be built once more."""

SUPPRESSIONS_SYNCED = Asset(name="suppressions_synced", uri="lettertrail://activation/suppressions")
"""Every destination has confirmed who must not be written to."""

PLANS_APPROVED = Asset(name="plans_approved", uri="lettertrail://activation/approved")
"""A person approved what the brake held; it is planned anew and pushed."""

SEGMENTS_SYNCED = Asset(name="segments_synced", uri="lettertrail://activation/segments")
"""Every published segment was planned and pushed."""


def raw_esp(conn_id: str) -> Asset:
    """The asset of one ESP account, for example `raw_esp__mailchimp`."""
    return Asset(name=f"raw_esp__{conn_id}", uri=f"lettertrail://warehouse/raw_esp/{conn_id}")


def inbox() -> Asset:
    """Webhooks wait to be worked in; the triggerer watches the warehouse for them."""
    watcher = AssetWatcher(name="lettertrail_inbox", trigger=InboxTrigger())
    return Asset(name="inbox", uri="lettertrail://warehouse/raw_inbox", watchers=[watcher])
