"""What Airflow asks a provider for. It finds this through the entry point in `include/lettertrail-*.dist-info`."""

from __future__ import annotations

from typing import Any

from lettertrail.airflow.connection_types import connection_types


def get_provider_info() -> dict[str, Any]:
    """LetterTrail's connection types, see `airflow/provider_info.schema.json`."""
    return {
        "package-name": "lettertrail",
        "name": "LetterTrail",
        "description": "From a newsletter to the deal it brought, and back.",
        "connection-types": [each.as_provider_info() for each in connection_types().values()],
    }
