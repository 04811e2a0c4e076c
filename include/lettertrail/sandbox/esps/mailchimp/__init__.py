"""Mailchimp's Marketing API 3.0 as a local server with state, built from reference/esp_apis.md section 1.

Usage:
    store = MailchimpStore(path)
    seed_mailchimp(world, store)
    app = create_app(store, api_key="0123456789abcdef0123456789abcdef-us1")
"""

from lettertrail.sandbox.esps.mailchimp.app import asks_for_change, create_app
from lettertrail.sandbox.esps.mailchimp.seed import LIST_ID, WorldMark, campaign_id, is_seeded, seed_mailchimp
from lettertrail.sandbox.esps.mailchimp.store import MailchimpStore, subscriber_hash

__all__ = [
    "LIST_ID",
    "MailchimpStore",
    "WorldMark",
    "asks_for_change",
    "campaign_id",
    "create_app",
    "is_seeded",
    "seed_mailchimp",
    "subscriber_hash",
]
