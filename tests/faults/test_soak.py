"""A short, seeded piece of the long run."""

from __future__ import annotations

import random

from tests.faults.servers import Servers
from tests.faults.soak import Soak

SEED = 7


def test_rounds_of_random_faults_end_without_a_difference(own_servers: Servers) -> None:
    """While a writer changes all tables, silently too."""
    soak = Soak(own_servers, random.Random(SEED))
    lines = [soak.round() for _ in range(2)]
    assert not soak.failed, "\n".join(lines)
    assert soak.rows > 20_000
