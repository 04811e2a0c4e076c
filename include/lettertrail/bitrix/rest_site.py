"""The sender module of a self-hosted site, through the REST methods of our handler (`include/bitrix_site/`).

Bitrix itself has no REST for mailings (bitrix.md 6.7). The methods need a webhook with the scope `lettertrail`. An
address is put on the module's blacklist, which keeps it out of every campaign; nothing takes it off again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

from lettertrail.bitrix.rest import BitrixRest
from lettertrail.bulk import Verdict, address_of, outcomes, targets
from lettertrail.clock import Clock
from lettertrail.errors import (
    ApiError,
    AuthenticationError,
    ContractError,
    RateLimited,
    RequestRejected,
    TemporaryApiError,
)
from lettertrail.esps.port import AccountConnection, Call, CheckStep, Endpoint, Outcome, Record, Status

BULK = 50
_STATUSES: Mapping[str, Status] = {"applied": "applied", "already_ok": "already_ok", "rejected": "rejected"}


class BitrixSite:
    """One site with the handler."""

    name: ClassVar[str] = "bitrix_site"
    endpoints: ClassVar[Mapping[str, tuple[Endpoint, ...]]] = {
        "suppress": (Endpoint("POST /lettertrail.suppress", BULK),)
    }

    def __init__(self, rest: BitrixRest) -> None:
        self.account = rest.account
        self._api = rest.api

    @classmethod
    def connect(
        cls, connection: AccountConnection, *, clock: Clock, allowed_hosts: Sequence[str] | None = None
    ) -> Self:
        """The site behind a webhook, as `BitrixRest.connect` takes it.

        Raises:
            ConfigurationError: the webhook is incomplete, or its host is not permitted.
        """
        return cls(BitrixRest.connect(connection, clock=clock, allowed_hosts=allowed_hosts))

    def check(self) -> Iterator[CheckStep]:
        """One step: the handler answers."""
        try:
            next(iter(self.suppressed()), None)
        except (AuthenticationError, RequestRejected):
            hint = "install include/bitrix_site on the site and give the webhook the scope lettertrail"
            yield CheckStep("handler", False, f"the site does not know lettertrail.suppressed; {hint}")
        except (ApiError, ContractError) as error:
            yield CheckStep("handler", False, str(error))
        else:
            yield CheckStep("handler", True, "the handler answers")

    def suppressed(self) -> Iterator[str]:
        """The addresses on the sender module's blacklist."""
        after: Any = 0
        while after is not None:
            page = self._result("lettertrail.suppressed", {"after": after}, write=False)
            items = page.get("items")
            if not isinstance(items, list):
                raise ContractError("bitrix_site: the answer to lettertrail.suppressed has no items")
            yield from (str(item["email"]) for item in items)
            after = page.get("next")

    def suppress(self, records: Sequence[Record]) -> Iterator[Outcome]:
        """Blacklists these addresses; one the module does not know is added as blacklisted."""
        yield from outcomes("bitrix_site suppress", records, self._suppress(targets(records)), target=address_of)

    def calls(self) -> list[Call]:
        """The write calls made since this was last asked."""
        return self._api.drain_calls()

    def _suppress(self, addresses: Sequence[str]) -> Iterator[tuple[str, Verdict]]:
        for start in range(0, len(addresses), BULK):
            part = addresses[start : start + BULK]
            try:
                # Asked again, the site says `already_ok`: what was lost is found by asking.
                said = self._result("lettertrail.suppress", {"emails": list(part)}, write=True).get("outcomes")
            except (TemporaryApiError, RateLimited):
                yield from ((address, ("retry_pending", "no answer")) for address in addresses[start:])
                return
            found = said if isinstance(said, Mapping) else {}
            for address in part:
                status = _STATUSES.get(str(found.get(address)))
                if status is None:
                    raise ContractError("bitrix_site: the answer to lettertrail.suppress leaves an address out")
                yield address, (status, "not an address" if status == "rejected" else None)

    def _result(self, method: str, params: Mapping[str, Any], *, write: bool) -> Mapping[str, Any]:
        count = len(params["emails"]) if write else 0
        answer = self._api.post(f"/{method}", json=dict(params), write=write, idempotent=True, records=count)
        result = answer.get("result") if isinstance(answer, Mapping) else None
        if not isinstance(result, Mapping):
            raise ContractError(f"bitrix_site: the answer to {method} has no result")
        return result
