"""UniSender Go's web API as a local server with state, built from reference/esp_apis.md section 5.

Usage:
    store = UnisenderGoStore(path)
    seed_unisender_go(world, store)
    app = create_app(store, api_key="…")
    sender.queue(hook_requests(store, api_key="…", since=last_event(store)))
"""

from lettertrail.sandbox.esps.unisender_go.app import asks_for_change, create_app
from lettertrail.sandbox.esps.unisender_go.hooks import handshake, hook_requests, last_event
from lettertrail.sandbox.esps.unisender_go.seed import is_seeded, seed_unisender_go
from lettertrail.sandbox.esps.unisender_go.store import UnisenderGoStore

__all__ = [
    "UnisenderGoStore",
    "asks_for_change",
    "create_app",
    "handshake",
    "hook_requests",
    "is_seeded",
    "last_event",
    "seed_unisender_go",
]
