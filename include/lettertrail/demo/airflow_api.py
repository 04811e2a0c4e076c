"""The few calls to Airflow's public REST API (v2) that the demo needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lettertrail.errors import ApiError
from lettertrail.http import BearerAuth, RestClient


@dataclass(frozen=True, slots=True)
class DagRun:
    """One run of a DAG."""

    dag_id: str
    run_id: str
    state: str
    run_after: datetime
    ended_at: datetime | None

    @property
    def label(self) -> str:
        """How the run signs its ledger rows; see `lettertrail.airflow.tasks.run_label`."""
        return f"{self.dag_id}/{self.run_id}"


@dataclass(frozen=True, slots=True)
class TaskRun:
    """One task instance of a run."""

    name: str
    state: str | None


class AirflowApi:
    """A logged-in client of the demo's own API server."""

    def __init__(self, base_url: str, *, user: str, password: str) -> None:
        host = base_url.partition("://")[2]
        login = RestClient(base_url, service="airflow", allowed_hosts=[host])
        token = login.post("/auth/token", json={"username": user, "password": password})["access_token"]
        self._api = RestClient(f"{base_url}/api/v2", service="airflow", allowed_hosts=[host], auth=BearerAuth(token))

    def dag_ids(self) -> frozenset[str]:
        """The DAGs that are parsed and active."""
        return frozenset(dag["dag_id"] for dag in self._api.get("/dags", params={"limit": 100})["dags"])

    def import_errors(self) -> list[str]:
        """`<file>: <last line of the trace>` for every DAG file that does not import."""
        errors = self._api.get("/importErrors")["import_errors"]
        return [f"{error['filename']}: {error['stack_trace'].strip().splitlines()[-1]}" for error in errors]

    def put_connections(self, connections: Sequence[Mapping[str, Any]]) -> None:
        """Creates these connections or overwrites them."""
        action = {"action": "create", "action_on_existence": "overwrite", "entities": list(connections)}
        answer = self._api.patch("/connections", json={"actions": [action]})
        errors = answer.get("create", {}).get("errors", [])
        if errors:
            raise ApiError("airflow", f"{len(errors)} connections were refused")

    def unpause(self, dag_id: str) -> None:
        """Lets the scheduler run the DAG."""
        self._api.patch("/dags/{dag}", fill={"dag": dag_id}, json={"is_paused": False})

    def trigger(self, dag_id: str, params: Mapping[str, Any] | None = None) -> DagRun:
        """Starts a run now, with these params instead of the DAG's own."""
        body = {"logical_date": None, "conf": dict(params or {})}
        answer = self._api.post("/dags/{dag}/dagRuns", fill={"dag": dag_id}, json=body)
        return _dag_run(answer)

    def run(self, dag_id: str, run_id: str) -> DagRun:
        """The run as it stands."""
        values = {"dag": dag_id, "run": run_id}
        return _dag_run(self._api.get("/dags/{dag}/dagRuns/{run}", fill=values))

    def first_run_after(self, dag_id: str, moment: datetime) -> DagRun | None:
        """The earliest run that an asset started at or after `moment`, or None so far."""
        params = {"run_after_gte": moment.isoformat(), "order_by": "run_after", "limit": 10}
        runs = self._api.get("/dags/{dag}/dagRuns", fill={"dag": dag_id}, params=params)["dag_runs"]
        return next((_dag_run(run) for run in runs if run["run_type"] == "asset_triggered"), None)

    def tasks(self, run: DagRun) -> list[TaskRun]:
        """The run's task instances; a mapped one shows its index."""
        values = {"dag": run.dag_id, "run": run.run_id}
        answer = self._api.get("/dags/{dag}/dagRuns/{run}/taskInstances", fill=values, params={"limit": 500})
        return [TaskRun(name=_task_name(item), state=item["state"]) for item in answer["task_instances"]]


def _dag_run(answer: Mapping[str, Any]) -> DagRun:
    ended = answer["end_date"]
    return DagRun(
        dag_id=answer["dag_id"],
        run_id=answer["dag_run_id"],
        state=answer["state"],
        run_after=datetime.fromisoformat(answer["run_after"]),
        ended_at=datetime.fromisoformat(ended) if ended else None,
    )


def _task_name(item: Mapping[str, Any]) -> str:
    index = item["map_index"]
    return item["task_id"] if index < 0 else f"{item['task_id']}[{item.get('rendered_map_index') or index}]"
