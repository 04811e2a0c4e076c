"""Mailchimp's Marketing API 3.0 as a local server with state, built from reference/esp_apis.md section 1.

Usage:
    store = MailchimpStore(path)
    seed_mailchimp(world, store)
    app = create_app(store, api_key="0123456789abcdef0123456789abcdef-us1")
    sender.queue(hook_requests(store, since=last_event(store)))
"""

from lettertrail.sandbox.esps.mailchimp.app import asks_for_change, create_app
from lettertrail.sandbox.esps.mailchimp.seed import campaign_id, is_seeded, seed_mailchimp
from lettertrail.sandbox.esps.mailchimp.store import LIST_ID, MailchimpStore, subscriber_hash
from lettertrail.sandbox.esps.mailchimp.webhooks import add_old_webhook, handshake, hook_requests, last_event
from lettertrail.sandbox.state import WorldMark

__all__ = [
    "LIST_ID",
    "MailchimpStore",
    "WorldMark",
    "add_old_webhook",
    "asks_for_change",
    "campaign_id",
    "create_app",
    "handshake",
    "hook_requests",
    "is_seeded",
    "last_event",
    "seed_mailchimp",
    "subscriber_hash",
]
