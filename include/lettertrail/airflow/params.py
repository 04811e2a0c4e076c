"""The typed params that the pushing DAGs share."""

from __future__ import annotations

from airflow.sdk import Param

from lettertrail.settings import Settings

DRY_RUN = Param(
    Settings.from_env().dry_run,
    type="boolean",
    description="Plan and record, but send nothing. The default is LETTERTRAIL_DRY_RUN (true unless set otherwise).",
)
RELEASE_BRAKE = Param(
    False,
    type="boolean",
    description="Let through what the brake held, after a person has looked at the plan.",
)
