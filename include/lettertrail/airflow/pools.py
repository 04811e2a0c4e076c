"""A pool for every ESP account, made where it is missing: Airflow never starts a task whose pool is not there.

The number of slots is how many connections of ours the service bears; a task uses one at a time. An operator may
change it: a pool that exists is left alone.
"""

from __future__ import annotations

import logging

from airflow.models.pool import Pool
from airflow.utils.session import create_session
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from lettertrail import esps
from lettertrail.airflow.accounts import esp_conn_ids, pool_of

log = logging.getLogger(__name__)


def ensure_pools() -> list[str]:
    """Makes the missing pools; gives their names. For processes that may use Airflow's database (the scheduler)."""
    # A session of our own: the scheduler's must not be committed by anybody else.
    with create_session(scoped=False) as session:
        there = set(session.scalars(select(Pool.pool)))
    missing = [conn_id for conn_id in esp_conn_ids() if pool_of(conn_id) not in there]
    return [pool_of(conn_id) for conn_id in missing if _make(conn_id)]


def _make(conn_id: str) -> bool:
    slots = esps.load(esps.adapter_name(conn_id)).connections
    pool = Pool(pool=pool_of(conn_id), slots=slots, description=f"Calls to {conn_id}", include_deferred=False)
    try:
        with create_session(scoped=False) as session:
            session.add(pool)
    except IntegrityError:
        return False  # another scheduler was quicker
    log.info("pool %s made with %d slots", pool_of(conn_id), slots)
    return True
