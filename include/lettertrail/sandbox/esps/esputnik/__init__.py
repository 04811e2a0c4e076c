"""eSputnik (Yespo) as a local server with state, built from reference/esp_apis.md section 6.

Usage:
    store = EsputnikStore(path, clock=clock)
    seed_esputnik(world, store)
    app = create_app(store, login="owner@shop.example", api_key="…")
"""

from lettertrail.sandbox.esps.esputnik.app import asks_for_change, create_app, usual_limits
from lettertrail.sandbox.esps.esputnik.rendering import render
from lettertrail.sandbox.esps.esputnik.seed import BROADCASTS, CITY_FIELD, MESSAGES, seed_esputnik
from lettertrail.sandbox.esps.esputnik.store import GROUP, EsputnikStore

__all__ = [
    "BROADCASTS",
    "CITY_FIELD",
    "GROUP",
    "MESSAGES",
    "EsputnikStore",
    "asks_for_change",
    "create_app",
    "render",
    "seed_esputnik",
    "usual_limits",
]
