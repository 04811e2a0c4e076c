"""UniSender's classic API as a local server with state, built from reference/esp_apis.md section 4.

Usage:
    store = UnisenderStore(path)
    seed_unisender(world, store)
    app = create_app(store, api_key="…")
    sender.queue(hook_requests(store, api_key="…", since=last_event(store)))
"""

from lettertrail.sandbox.esps.unisender.app import asks_for_change, create_app
from lettertrail.sandbox.esps.unisender.hooks import hook_requests, last_event
from lettertrail.sandbox.esps.unisender.seed import campaign_id, is_seeded, seed_unisender
from lettertrail.sandbox.esps.unisender.store import LIST_ID, UnisenderStore

__all__ = [
    "LIST_ID",
    "UnisenderStore",
    "asks_for_change",
    "campaign_id",
    "create_app",
    "hook_requests",
    "is_seeded",
    "last_event",
    "seed_unisender",
]
