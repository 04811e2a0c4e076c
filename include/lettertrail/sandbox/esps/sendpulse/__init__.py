"""SendPulse's bulk and SMTP APIs as a local server with state, built from reference/esp_apis.md section 3.

Usage:
    store = SendPulseStore(path, clock=clock)
    seed_sendpulse(world, store)
    app = create_app(store, client_id="…", client_secret="…")
"""

from lettertrail.sandbox.esps.sendpulse.app import asks_for_change, create_app, usual_limits
from lettertrail.sandbox.esps.sendpulse.rendering import render
from lettertrail.sandbox.esps.sendpulse.seed import CAMPAIGNS, seed_sendpulse
from lettertrail.sandbox.esps.sendpulse.store import BOOK, SendPulseStore

__all__ = [
    "BOOK",
    "CAMPAIGNS",
    "SendPulseStore",
    "asks_for_change",
    "create_app",
    "render",
    "seed_sendpulse",
    "usual_limits",
]
