"""Batches: many calls handed in at once, carried out in the background, the answers fetched as a `.tar.gz`.

A batch passes through pending, started, finalizing and finished. `finished` only says that every operation ran;
whether they succeeded is in `errored_operations`. Unfinished batches go on after a restart.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import logging
import secrets
import sqlite3
import tarfile
import threading
import uuid
from datetime import datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

from lettertrail.sandbox.esps.mailchimp.store import MailchimpStore, dump
from lettertrail.sandbox.esps.mailchimp.wire import (
    DEFAULT_COUNT,
    Answer,
    Call,
    Json,
    Problem,
    Router,
    bad_request,
    invalid_resource,
    not_found,
)

log = logging.getLogger(__name__)

MAX_PENDING = 500
LINK_MINUTES = 10
PER_FILE = 100
DOWNLOADS = "/downloads/batches/"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

router = Router()


@router.on("POST", "/batches")
def submit(store: MailchimpStore, call: Call) -> Answer:
    """Takes a batch in; at most 500 may be waiting."""
    operations = call.fields().get("operations")
    if not isinstance(operations, list) or not operations:
        raise invalid_resource(("operations", "This value should not be blank."))
    for position, operation in enumerate(operations):
        if not isinstance(operation, dict) or operation.get("method") not in METHODS:
            raise invalid_resource(
                (f"operations.item:{position}.method", "Value did not match any of the allowed options")
            )
        if not operation.get("path") or not isinstance(operation.get("body", ""), str):
            raise invalid_resource(
                (f"operations.item:{position}", "An operation needs a path, and its body is a string.")
            )
    with store.transaction() as db:
        if store.number("select count(*) from batches where status <> 'finished'") >= MAX_PENDING:
            raise Problem(429, "Too Many Requests", "You have more than 500 pending batches.")
        number = uuid.uuid4().hex[:10]
        db.execute(
            "insert into batches (id, status, operations, total, submitted_at) values (?, 'pending', ?, ?, ?)",
            (number, dump(operations), len(operations), store.now()),
        )
    return Answer(body=_shown(store, _require(store, number), call))


@router.on("GET", "/batches")
def list_batches(store: MailchimpStore, call: Call) -> Answer:
    """Batches, last handed in first."""
    count, offset = call.page()
    rows = store.rows("select * from batches order by rowid desc limit ? offset ?", count, offset)
    total = store.number("select count(*) from batches")
    return Answer(body={"batches": [_shown(store, row, call) for row in rows], "total_items": total})


@router.on("GET", "/batches/{batch_id}")
def get_batch(store: MailchimpStore, call: Call) -> Answer:
    """How far a batch is; once finished, with a fresh link to the answers."""
    return Answer(body=_shown(store, _require(store, call.names["batch_id"]), call))


@router.on("DELETE", "/batches/{batch_id}")
def delete_batch(store: MailchimpStore, call: Call) -> Answer:
    """Stops a batch and forgets its answers."""
    with store.transaction() as db:
        db.execute("delete from batches where id = ?", (_require(store, call.names["batch_id"])["id"],))
    return Answer(204)


def _require(store: MailchimpStore, number: str) -> sqlite3.Row:
    found = store.row("select * from batches where id = ?", number)
    if found is None:
        raise not_found()
    return found


def _shown(store: MailchimpStore, row: sqlite3.Row, call: Call) -> Json:
    finished = row["status"] == "finished"
    return {
        "id": row["id"],
        "status": row["status"],
        "total_operations": row["total"],
        "finished_operations": row["finished"],
        "errored_operations": row["errored"],
        "submitted_at": row["submitted_at"],
        "completed_at": row["completed_at"],
        "response_body_url": _link(store, row["id"], call) if finished else "",
    }


# --- the answers


def _link(store: MailchimpStore, number: str, call: Call) -> str:
    expires = int((datetime.fromisoformat(store.now()) + timedelta(minutes=LINK_MINUTES)).timestamp())
    origin = urlsplit(call.base_url)
    signature = _signature(store, number, expires)
    return f"{origin.scheme}://{origin.netloc}{DOWNLOADS}{number}.tar.gz?Expires={expires}&Signature={signature}"


def _signature(store: MailchimpStore, number: str, expires: int) -> str:
    with store.transaction():
        secret = store.fact("download_secret")
        if secret is None:
            secret = secrets.token_hex(16)
            store.remember("download_secret", secret)
    return hmac.new(secret.encode(), f"{number} {expires}".encode(), hashlib.sha256).hexdigest()


def archive(store: MailchimpStore, path: str, query: str) -> bytes | None:
    """The `.tar.gz` behind a link; None when the link is wrong or too old. No other proof is asked for."""
    number = path.removeprefix(DOWNLOADS).removesuffix(".tar.gz")
    given = dict(parse_qsl(query))
    expires = int(given["Expires"]) if given.get("Expires", "").isdigit() else 0
    if not hmac.compare_digest(_signature(store, number, expires), given.get("Signature", "")):
        return None
    row = store.row("select results from batches where id = ? and status = 'finished'", number)
    if row is None or datetime.fromisoformat(store.now()).timestamp() > expires:
        return None
    return _tar(number, json.loads(row["results"]))


def _tar(number: str, results: list[Json]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        folder = tarfile.TarInfo("./")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for part in range(0, max(len(results), 1), PER_FILE):
            content = dump(results[part : part + PER_FILE]).encode()
            entry = tarfile.TarInfo(f"./{number}-{part // PER_FILE:04d}.json")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


# --- the work


class BatchRunner:
    """Works off the waiting batches in a thread of its own, oldest first.

    Args:
        step_seconds: how long a batch stays in each state, so that a caller who polls can see it.
    """

    def __init__(self, store: MailchimpStore, routes: Router, *, step_seconds: float) -> None:
        self._store = store
        self._routes = routes
        self._step_seconds = step_seconds
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._busy = False

    def wake(self) -> None:
        """Starts the thread unless it is at work already."""
        with self._lock:
            if self._busy or not self._store.number("select count(*) from batches where status <> 'finished'"):
                return
            self._busy = True
            self._thread = threading.Thread(target=self._work, name="mailchimp-batches", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stops after the operation under way; what is unfinished is begun again by the next process."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while not self._stopped.is_set():
            with self._lock:
                row = self._store.row("select * from batches where status <> 'finished' order by rowid limit 1")
                if row is None:
                    self._busy = False
                    return
            self._run(row)

    def _run(self, row: sqlite3.Row) -> None:
        number = row["id"]
        self._stopped.wait(self._step_seconds)
        self._set(number, status="started", finished=0, errored=0)
        results: list[Json] = []
        errored = 0
        operations = json.loads(row["operations"])
        for done, operation in enumerate(operations, start=1):
            if self._stopped.is_set() or not self._still_wanted(number):
                return
            answers = run_operation(self._store, self._routes, operation)
            errored += any(answer["status_code"] >= 400 for answer in answers)
            results += answers
            if done % PER_FILE == 0 or done == len(operations):
                self._set(number, finished=done, errored=errored)
        self._set(number, status="finalizing")
        self._stopped.wait(self._step_seconds)
        # The real service does not keep the order of the operations either.
        results.sort(key=lambda answer: hashlib.sha256(dump(answer).encode()).digest())
        self._set(number, status="finished", results=dump(results), completed_at=self._store.now())
        log.info("mailchimp batch operations=%d errored=%d", len(operations), errored)

    def _still_wanted(self, number: str) -> bool:
        return self._store.row("select 1 from batches where id = ?", number) is not None

    def _set(self, number: str, **values: object) -> None:
        columns = ", ".join(f"{name} = ?" for name in values)
        with self._store.transaction() as db:
            db.execute(f"update batches set {columns} where id = ?", (*values.values(), number))  # noqa: S608


def run_operation(store: MailchimpStore, routes: Router, operation: Json) -> list[Json]:
    """Carries out one operation; a GET of a collection goes through all its pages, one answer each."""
    query = {str(name): _query_text(value) for name, value in (operation.get("params") or {}).items()}
    path = "/" + str(operation["path"]).strip("/").removeprefix("3.0/")
    answers: list[Json] = []
    while True:
        answer = _one_call(store, routes, operation, Call(operation["method"], path, query))
        answers.append(
            {
                "status_code": answer.status,
                "operation_id": operation.get("operation_id"),
                "response": dump(answer.body) if answer.body is not None else "",
            }
        )
        offset = int(query.get("offset") or 0) + int(query.get("count") or DEFAULT_COUNT)
        total = (answer.body or {}).get("total_items")
        if operation["method"] != "GET" or answer.status >= 400 or not isinstance(total, int) or offset >= total:
            return answers
        if query.get("count") == "0":
            return answers
        query = query | {"offset": str(offset)}


def _one_call(store: MailchimpStore, routes: Router, operation: Json, call: Call) -> Answer:
    try:
        if call.path.startswith("/batches"):
            raise bad_request("A batch cannot hold another batch.")
        body = None
        if operation.get("body"):
            try:
                body = json.loads(operation["body"])
            except ValueError:
                raise Problem(400, "JSONParseError", "The body of the operation is not valid JSON.") from None
        return routes.dispatch(store, Call(call.method, call.path, call.query, body))
    except Problem as problem:
        return Answer(problem.status, problem.body())


def _query_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
