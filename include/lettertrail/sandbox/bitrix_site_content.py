"""Everything the sample site holds, in the order it is written; the same for every kind of database."""

from __future__ import annotations

import numpy as np

from lettertrail.sandbox.bitrix_rows import Writer
from lettertrail.sandbox.bitrix_site_crm import write_crm
from lettertrail.sandbox.bitrix_site_sender import sender_frames, write_sender
from lettertrail.sandbox.bitrix_site_shop import accounts, write_consents, write_dictionaries, write_shop, write_users
from lettertrail.sandbox.world import World

FIRST_STREAM = 100


def write_site(writer: Writer, world: World) -> None:
    """Writes all rows. The same world gives the same rows: each part draws from a stream of its own."""
    rng = [np.random.default_rng([world.seed, FIRST_STREAM + part]) for part in range(4)]
    users = accounts(world, rng[0])
    write_dictionaries(writer, world)
    write_users(writer, world, users)
    frames = sender_frames(world, rng[1], user_of_person=users)
    write_sender(writer, world, frames)
    write_consents(writer, world, frames.consents)
    write_crm(writer, world, rng[2], recipient_of_send=frames.recipient_of_send)
    write_shop(writer, world, users, rng[3])
