"""The marketing flag of CRM contacts and leads, through an incoming webhook of Bitrix24 REST.

Docs:   bitrix.md section 6. The webhook's secret is part of the URL, so the URL is never logged or shown.
Limits: the bucket drains 2 requests a second and blocks above 50, counted per portal and source address for
all
        programs together; a batch of 50 commands counts once. 503 QUERY_LIMIT_EXCEEDED, 429
        OPERATION_TIME_LIMIT.
Quirks: a batch answers 200 also when commands failed (`result_error`); PHP writes an empty object as `[]`;
list
        values are strings; a filter or an update that names an unknown field passes silently, hence
        `ensure_field`.

Bitrix has no consent field on a card: `UF_CRM_EMAIL_MARKETING` (boolean, 0 = do not mail) is ours, and the
site's segments filter by it. A card without a value was never judged and counts as allowed.
"""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from lettertrail.bitrix.own_writes import CHANGED, OwnWrites, changed_at
from lettertrail.bitrix.user_fields import UserField, missing
from lettertrail.bulk import Verdict, outcomes, push, targets
from lettertrail.clock import Clock
from lettertrail.errors import (
    ApiError,
    AuthenticationError,
    ConfigurationError,
    ContractError,
    RateLimited,
    RequestRejected,
    TemporaryApiError,
)
from lettertrail.esps.port import AccountConnection, CheckStep, Endpoint, Outcome, Record, operator_hosts
from lettertrail.http import Answer, Call, RestClient
from lettertrail.throttle import shared_throttle

log = logging.getLogger(__name__)

FLAG = "UF_CRM_EMAIL_MARKETING"
FLAG_FIELD = UserField(
    FLAG,
    "boolean",
    "Можно слать рассылки",
    xml_id="LETTERTRAIL_EMAIL_MARKETING",
    settings={"DEFAULT_VALUE": 1},  # otherwise every new card would start as suppressed
)
BATCH = 50
PAGE = 50
GONE = "no such card"

_THROTTLED = frozenset({"QUERY_LIMIT_EXCEEDED", "OPERATION_TIME_LIMIT", "OVERLOAD_LIMIT"})
_UNAUTHORISED = frozenset(
    {
        "NO_AUTH_FOUND",
        "expired_token",
        "insufficient_scope",
        "INVALID_CREDENTIALS",
        "ACCESS_DENIED",
        "user_access_error",
    }
)


class BitrixRest:
    """One Bitrix portal, as the webhook's user sees it. `Record.key` is the id of a card of `entity`."""

    name: ClassVar[str] = "bitrix"
    hosts: ClassVar[tuple[str, ...]] = tuple(
        f"*.bitrix24.{zone}" for zone in ("ru", "com", "by", "kz", "eu", "de", "fr", "es", "pl", "it", "in")
    )

    def __init__(self, *, account: str, api: RestClient, entity: str = "contact") -> None:
        self.account = account
        self.api = api
        self.entity = entity
        """Whose flag is meant: `contact` or `lead`."""
        self.own_writes: OwnWrites | None = None
        """Where to remember which changes of cards were ours."""
        self._has_field = False

    @property
    def endpoints(self) -> Mapping[str, tuple[Endpoint, ...]]:
        """What a plan would call; see `Esp.endpoints`."""
        return dict.fromkeys(("suppress", "release"), (Endpoint(f"POST /batch of crm.{self.entity}.update", BATCH),))

    def about(self, entity: str) -> Self:
        """The same portal, for the cards of another entity."""
        other = copy.copy(self)
        other.entity = entity
        other._has_field = False
        other.own_writes = None
        return other

    @classmethod
    def connect(
        cls, connection: AccountConnection, *, clock: Clock, allowed_hosts: Sequence[str] | None = None
    ) -> Self:
        """The portal behind a webhook: its whole URL as address, or the portal with login = user id,
        password = secret.

        Raises:
            ConfigurationError: the webhook is incomplete, or its host is not permitted.
        """
        base_url = _webhook(connection)
        api = RestClient(
            base_url,
            service=cls.name,
            hosts=cls.hosts,
            allowed_hosts=operator_hosts(allowed_hosts),
            classify=_judge,
            throttle=shared_throttle(f"{cls.name} {urlsplit(base_url).netloc}", max_concurrency=2, rate=2.0, burst=50),
            timeouts=(10.0, 70.0),  # a request may run for 60 s
            clock=clock,
        )
        return cls(account=connection.conn_id, api=api)

    def check(self) -> Iterator[CheckStep]:
        """Two steps: contacts can be read, the field is there or will be made."""
        steps: tuple[tuple[str, Callable[[], str]], ...] = (
            ("contacts", self._describe_contacts),
            ("field", lambda: f"{FLAG} {'exists' if self._field_exists() else 'is made by the first push'}"),
        )
        for step, try_it in steps:
            try:
                yield CheckStep(step, True, try_it())
            except (ApiError, ContractError) as error:
                yield CheckStep(step, False, str(error))
                return

    def suppressed(self) -> Iterator[str]:
        """Ids of the contacts whose flag is 0, ascending."""
        after, depth = "0", 1
        while True:
            for rows in self._next_pages(after, depth):
                # Where the field does not exist yet the filter is ignored and everyone comes, without a value.
                yield from (str(row["ID"]) for row in rows if _flag(row) == 0)
                if len(rows) < PAGE:
                    return
                after = str(rows[-1]["ID"])
            depth = BATCH

    def suppress(self, records: Sequence[Record]) -> Iterator[Outcome]:
        """Sets the flag to 0."""
        contacts = targets(records, card_of)
        yield from outcomes("bitrix suppress", records, self._set(contacts, 0, where={1, None}), target=card_of)

    def release(self, records: Sequence[Record]) -> Iterator[Outcome]:
        """Sets the flag to 1 where it is 0.

        Only ids that our ledger says we suppressed may be given: Bitrix does not tell our 0 from a manager's.
        """
        contacts = targets(records, card_of)
        yield from outcomes("bitrix release", records, self._set(contacts, 1, where={0}), target=card_of)

    def ensure_field(self) -> bool:
        """Makes the flag's field when it is missing; True when it had to.

        Raises:
            ContractError: a field of that name exists with another type.
        """
        if self._has_field or self._field_exists():
            self._has_field = True
            return False
        self.add_field(FLAG_FIELD)
        self._has_field = True
        return True

    def ensure_fields(self, fields: Sequence[UserField]) -> list[str]:
        """Makes those that are missing; gives their names.

        Raises:
            ContractError: a field of that name exists with another type.
        """
        # One listing a field: how many rows a page of this method has, the documentation does not say.
        commands = {each.name: f"crm.{self.entity}.userfield.list?filter[FIELD_NAME]={each.name}" for each in fields}
        found = [row for rows in self.listings(commands).values() for row in rows]
        wanting = missing(fields, found, entity=self.entity)
        for each in wanting:
            self.add_field(each)
        return [each.name for each in wanting]

    def add_field(self, field: UserField) -> None:
        """Makes one field; an answer that was lost is made up for by looking."""
        try:
            self.api.post(f"/crm.{self.entity}.userfield.add", json={"fields": field.as_fields()}, records=1)
        except TemporaryApiError:
            # It may have been made before the answer was lost.
            if missing([field], self._fields({"FIELD_NAME": field.name}), entity=self.entity):
                raise
        log.info("bitrix made %s field=%s", self.entity, field.name)

    def calls(self) -> list[Call]:
        """The write calls made since this was last asked."""
        return self.api.drain_calls()

    def _set(
        self, contacts: Sequence[str], value: int, *, where: Collection[int | None]
    ) -> Iterator[tuple[str, Verdict]]:
        if not contacts:
            return
        self.ensure_field()
        rows = self._rows(contacts)
        flags = {contact: _flag(row) for contact, row in rows.items()}
        for contact in contacts:
            if contact not in flags:
                yield contact, ("already_ok", GONE)
            elif flags[contact] not in where:
                yield contact, ("already_ok", None)

        def send(bulk: Sequence[str]) -> dict[str, Verdict]:
            update = f"fields[{FLAG}]={value}&params[REGISTER_SONET_EVENT]=N"
            commands = {f"c{contact}": f"crm.{self.entity}.update?id={contact}&{update}" for contact in bulk}
            done, failed = self.batch(commands, write=True)
            verdicts: dict[str, Verdict] = {key[1:]: ("applied", None) for key, is_ok in done.items() if is_ok}
            return verdicts | {key[1:]: refusal(error) for key, error in failed.items()}

        def settled(bulk: Sequence[str]) -> set[str]:
            return {contact for contact, flag in self._flags(bulk).items() if flag == value}

        to_write = [contact for contact in contacts if contact in flags and flags[contact] in where]
        if self.own_writes is not None and to_write:
            self.own_writes.before(self.entity, {contact: changed_at(rows[contact]) for contact in to_write})
        yield from push(to_write, send, settled, bulk=BATCH, unmentioned="applied", otherwise="not changed")
        if self.own_writes is not None and to_write:
            # Cards that were not written show the time from before, which is right for them too.
            written = self._rows(to_write)
            self.own_writes.after(self.entity, {contact: changed_at(row) for contact, row in written.items()})

    def _next_pages(self, after: str, depth: int) -> Iterator[list[Mapping[str, Any]]]:
        """Pages of suppressed contacts by ascending id, each command going on where the one before it ended."""
        commands = {}
        for number in range(depth):
            last = f"$result[p{number - 1}][{PAGE - 1}][ID]" if number else after
            commands[f"p{number}"] = self._listing(f"filter[{FLAG}]=0&filter[%3EID]={last}")
        done = self.listings(commands)
        yield from (done[key] for key in commands)

    def _flags(self, contacts: Sequence[str]) -> dict[str, int | None]:
        """Contact id → flag, for those that exist."""
        return {contact: _flag(row) for contact, row in self._rows(contacts).items()}

    def _rows(self, contacts: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """Contact id → its row, for those that exist; 2 500 contacts in one request."""
        chunks = [contacts[start : start + PAGE] for start in range(0, len(contacts), PAGE)]
        commands = {
            f"p{number}": self._listing("&".join(f"filter[@ID][]={contact}" for contact in chunk))
            for number, chunk in enumerate(chunks)
        }
        return {str(row["ID"]): row for rows in self.listings(commands).values() for row in rows}

    def listings(self, commands: Mapping[str, str]) -> dict[str, list[Mapping[str, Any]]]:
        """The rows of each listing, fifty listings to a request.

        Raises:
            ApiError: one of the listings failed.
        """
        found: dict[str, list[Mapping[str, Any]]] = {}
        keys = list(commands)
        for start in range(0, len(keys), BATCH):
            part = {key: commands[key] for key in keys[start : start + BATCH]}
            done, failed = self.batch(part, write=False)
            if failed or set(done) != set(part):
                raise _batch_error(next(iter(failed.values()), None))
            found |= done
        return found

    def batch(
        self, commands: Mapping[str, str], *, write: bool, idempotent: bool = True
    ) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Up to 50 commands at once; gives (results, errors) by the commands' names.

        Raises:
            ContractError: the answer has no result.
        """
        answer = self.api.post(
            "/batch",
            json={"halt": 0, "cmd": dict(commands)},
            write=write,
            idempotent=idempotent,
            records=len(commands) if write else 0,
        )
        result = answer.get("result") if isinstance(answer, Mapping) else None
        if not isinstance(result, Mapping):
            raise ContractError("bitrix: the answer to a batch has no result")
        done, failed = result.get("result"), result.get("result_error")
        return (done if isinstance(done, Mapping) else {}), (failed if isinstance(failed, Mapping) else {})

    def read(self, method: str, params: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The rows of one list method.

        Raises:
            ContractError: the answer has none.
        """
        answer = self.api.post(f"/{method}", json=dict(params), write=False)
        rows = answer.get("result") if isinstance(answer, Mapping) else None
        if not isinstance(rows, list):
            raise ContractError(f"bitrix: the answer to {method} has no list of rows")
        return rows

    def _field_exists(self) -> bool:
        return not missing([FLAG_FIELD], self._fields({"FIELD_NAME": FLAG}), entity=self.entity)

    def _fields(self, conditions: Mapping[str, str]) -> list[Mapping[str, Any]]:
        return self.read(f"crm.{self.entity}.userfield.list", {"filter": dict(conditions)})

    def _describe_contacts(self) -> str:
        rows = self.read(f"crm.{self.entity}.list", {"select": ["ID"], "start": -1, "order": {"ID": "ASC"}})
        return f"{self.entity}s can be read" if rows else f"{self.entity}s can be read; there are none"

    def _listing(self, conditions: str) -> str:
        """A command that lists cards with their flag, without counting them."""
        select = f"select[]=ID&select[]={FLAG}&select[]={CHANGED}"
        return f"crm.{self.entity}.list?{conditions}&{select}&order[ID]=ASC&start=-1"


def _judge(answer: Answer) -> ApiError | None:
    """Goes by the error code where there is one. Older methods send an empty code and a translated text."""
    if not isinstance(answer.body, Mapping) or "error" not in answer.body:
        return None
    code = str(answer.body["error"])
    code = code if re.fullmatch(r"\w+", code) else "without a code"
    service, status = answer.service, answer.status
    if code in _THROTTLED or status in (429, 503):
        return RateLimited(service, f"too many requests: {code}", status=status, code=code)
    if code in _UNAUTHORISED or status in (401, 403):
        return AuthenticationError(
            service, f"the webhook was refused ({code}); renew it in the connection", status=status, code=code
        )
    if status >= 500 and code != "PORTAL_DELETED":
        return TemporaryApiError(service, f"the portal failed: {code}", status=status, code=code)
    return RequestRejected(service, f"the request was refused: {code}", status=status, code=code)


def _batch_error(error: Any) -> ApiError:
    judged = _judge(Answer(BitrixRest.name, 200, {}, error))
    return judged or RequestRejected(BitrixRest.name, "a command of a batch was refused")


def refusal(error: Any) -> Verdict:
    """What the error of one command of a batch means for its record."""
    judged = _batch_error(error)
    if isinstance(judged, RateLimited | TemporaryApiError):
        return "retry_pending", judged.code or "no answer"
    return "rejected", judged.code or "refused"


def _webhook(connection: AccountConnection) -> str:
    address, user, secret = connection.address, connection.login or "", connection.password or ""
    if re.search(r"/rest/\d+/[^/]+$", address):
        return address
    if address and user and secret:
        return f"{address.removesuffix('/rest')}/rest/{user.strip()}/{secret.strip()}"
    raise ConfigurationError(
        f"connection {connection.conn_id!r} must hold an incoming webhook: its whole URL as address, "
        "or the portal's address with the user id as login and the secret as password"
    )


def card_of(record: Record) -> str | None:
    """The card id that a record is about; None when its key is none."""
    return record.key if re.fullmatch(r"[1-9][0-9]*", record.key) else None


def _flag(row: Mapping[str, Any]) -> int | None:
    """0, 1, or None when the contact was never judged; lists spell a boolean field as a text."""
    return {"0": 0, "N": 0, "False": 0, "1": 1, "Y": 1, "True": 1}.get(str(row.get(FLAG)))
