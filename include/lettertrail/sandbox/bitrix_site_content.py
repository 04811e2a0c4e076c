"""Everything the sample site holds, in the order it is written; the same for every kind of database.

The later parts draw nothing at random: they work their rows out of the world, so that adding a part changes no other.
"""

from __future__ import annotations

import numpy as np

from lettertrail.sandbox.bitrix_rows import Writer
from lettertrail.sandbox.bitrix_site_activities import write_activities
from lettertrail.sandbox.bitrix_site_carts import write_recent_carts
from lettertrail.sandbox.bitrix_site_crm import write_crm
from lettertrail.sandbox.bitrix_site_fields import write_field_catalogue, write_lead_and_company_fields
from lettertrail.sandbox.bitrix_site_history import write_history
from lettertrail.sandbox.bitrix_site_mail import write_mail
from lettertrail.sandbox.bitrix_site_orders import write_conversion_counters, write_orders
from lettertrail.sandbox.bitrix_site_recycle import write_recycle_bin
from lettertrail.sandbox.bitrix_site_segments import write_segments
from lettertrail.sandbox.bitrix_site_sender import sender_frames, write_sender
from lettertrail.sandbox.bitrix_site_shop import accounts, write_consents, write_dictionaries, write_shop, write_users
from lettertrail.sandbox.bitrix_site_subscribe import write_subscribe
from lettertrail.sandbox.bitrix_site_tracking import write_tracking
from lettertrail.sandbox.bitrix_site_users import write_groups
from lettertrail.sandbox.world import World

FIRST_STREAM = 100


def write_site(writer: Writer, world: World) -> None:
    """Writes all rows. The same world gives the same rows."""
    rng = [np.random.default_rng([world.seed, FIRST_STREAM + part]) for part in range(4)]
    users = accounts(world, rng[0])
    write_dictionaries(writer, world)
    write_field_catalogue(writer)
    write_users(writer, world, users)
    frames = sender_frames(world, rng[1], user_of_person=users)
    write_sender(writer, world, frames)
    write_segments(writer, world, frames)
    write_consents(writer, world, frames.consents)
    write_crm(writer, world, rng[2], recipient_of_send=frames.recipient_of_send)
    write_lead_and_company_fields(writer, world)
    write_activities(writer, world, frames)
    write_history(writer, world)
    write_tracking(writer, world)
    write_recycle_bin(writer, world)
    write_shop(writer, world, users, rng[3])
    write_orders(writer, world)
    write_recent_carts(writer, world)
    write_conversion_counters(writer, world)
    write_groups(writer, world, users)
    write_subscribe(writer, world, users)
    write_mail(writer, world)
