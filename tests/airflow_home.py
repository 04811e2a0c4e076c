"""Airflow without a server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def airflow_home_in(directory: Path) -> Iterator[None]:
    """A home that goes away, since Airflow writes its configuration on import; nothing of ours is set."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_HOME", str(directory))
        patch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        for name in [name for name in os.environ if name.startswith("LETTERTRAIL_")]:
            patch.delenv(name)
        yield
