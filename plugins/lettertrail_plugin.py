"""LetterTrail in Airflow: the inbox and the report in the web server, the accounts' pools in the scheduler."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from lettertrail.airflow import listener
from lettertrail.airflow.plugin import links, web_apps


class LetterTrailPlugin(AirflowPlugin):
    """Mounts the apps, adds the links, listens to the scheduler."""

    name = "lettertrail"
    fastapi_apps = web_apps()
    external_views = links()
    listeners = [listener]  # noqa: RUF012  Airflow reads it so
