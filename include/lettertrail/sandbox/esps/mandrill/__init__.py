"""Mailchimp Transactional (Mandrill) as a local server with state, built from reference/esp_apis.md section 2.

Usage:
    store = MandrillStore(path)
    seed_mandrill(world, store)
    app = create_app(store, api_key="…")
    sender.queue(hook_requests(store, since=last_event(store)))
"""

from lettertrail.sandbox.esps.mandrill.app import asks_for_change, create_app
from lettertrail.sandbox.esps.mandrill.hooks import handshake, hook_requests, last_event, trial_request
from lettertrail.sandbox.esps.mandrill.seed import is_seeded, seed_mandrill
from lettertrail.sandbox.esps.mandrill.store import MandrillStore

__all__ = [
    "MandrillStore",
    "asks_for_change",
    "create_app",
    "handshake",
    "hook_requests",
    "is_seeded",
    "last_event",
    "seed_mandrill",
    "trial_request",
]
