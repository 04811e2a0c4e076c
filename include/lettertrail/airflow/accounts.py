"""Connection ids. Light on purpose: DAG files are parsed often and need no client for this.

warehouse    postgres    host, port, login, password, schema (the database)
bitrix       bitrix_database (or mysql, postgres): the site's database or a replica of it, through a read-only account
bitrix24     bitrix24    the incoming webhook: host = its address without user and secret, login = the user's id,
                         password = the secret. LETTERTRAIL_BITRIX_CONN=bitrix24 reads the tables through it too (cloud)
bitrix_site  bitrix24    the same for a self-hosted site with our handler, scope `lettertrail`; LETTERTRAIL_BITRIX_SITES
                         names those in use, a second one `bitrix_site__b2b`
<esp>        <esp>       one per ESP account: `mailchimp`, a second one `mailchimp__b2b`
"""

from __future__ import annotations

from lettertrail import esps
from lettertrail.settings import Settings

WAREHOUSE_LOADER = "warehouse_loader"
WAREHOUSE_DBT = "warehouse_dbt"
WAREHOUSE_SYNC = "warehouse_sync"
WAREHOUSE_ERASER = "warehouse_eraser"
BITRIX24 = "bitrix24"
BITRIX_SITE = "bitrix_site"
BITRIX_DATABASE = "bitrix_database"


def pool_of(conn_id: str) -> str:
    """The Airflow pool of the tasks that use an ESP account; see `pools.py`."""
    return f"esp_{conn_id}"


def esp_conn_ids() -> tuple[str, ...]:
    """Connection ids of the ESP accounts in use: `LETTERTRAIL_ESP_ACCOUNTS`, or one per adapter."""
    return Settings.from_env().esp_accounts or esps.names()


def site_conn_ids() -> tuple[str, ...]:
    """Connection ids of the sites whose sender module is told: `LETTERTRAIL_BITRIX_SITES`."""
    return Settings.from_env().bitrix_sites


def sender_pools() -> dict[str, str | None]:
    """Connection id of whoever writes letters by itself, ESP account or site → the pool of the tasks that use it."""
    return {account: pool_of(account) for account in esp_conn_ids()} | dict.fromkeys(site_conn_ids())
