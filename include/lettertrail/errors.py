"""Every error LetterTrail raises on purpose.

    LetterTrailError
    ├── ConfigurationError      a setting is missing or wrong: fail now, name the setting
    ├── ApiError                an outside service refused or failed (service, status; never the body)
    │   ├── AuthenticationError     fail now: renew the key in that connection
    │   ├── RequestRejected         any other refusal, mostly bad input: fail now
    │   │   ├── NotFound                what was asked for is not there
    │   │   ├── Duplicate               the service has done this already: as good as done
    │   │   └── ComplianceRefusal       the person left, complained or was erased: evidence, never an error to repeat
    │   ├── RateLimited             retry later
    │   └── TemporaryApiError       5xx, time-outs, cut connections: retry
    │       └── Unreachable             no connection came about, so nothing was carried out
    ├── SourceError             the Bitrix database could not be read
    ├── WarehouseError          the warehouse broke off, is full or busy: retry
    ├── ContractError           an answer or a table lacks what we rely on: fail now
    │   ├── TableMissing            the source does not have a table (its module is not installed)
    │   └── PhpSyntaxError          a value is not what PHP's serialize() writes
    ├── LedgerImbalance         the sums of a run do not add up: the run fails
    ├── QualityGateFailed       a Great Expectations door stayed shut: what follows must not run
    └── BrakeApplied            a plan looks wrong: stopped before anything was written

No message holds a secret or an e-mail address: messages end in logs, and logs are read by many.
"""

from __future__ import annotations


class LetterTrailError(Exception):
    """The root of the tree."""


class ConfigurationError(LetterTrailError):
    """A setting is missing or wrong; the message names it."""


class ApiError(LetterTrailError):
    """An outside service answered with an error, or did not answer."""

    def __init__(self, service: str, message: str, *, status: int | None = None, code: str | None = None) -> None:
        self.service = service
        self.status = status
        self.code = code
        where = f"{service} ({status})" if status is not None else service
        super().__init__(f"{where}: {message}")


class AuthenticationError(ApiError):
    """The key or token was refused. Retrying cannot help."""


class RequestRejected(ApiError):
    """The service understood the request and refused it. Retrying cannot help."""


class NotFound(RequestRejected):
    """What was asked for is not there."""


class Duplicate(RequestRejected):
    """The service says it has done this already; after a lost answer that is good news."""


class ComplianceRefusal(RequestRejected):
    """The service will not mail this person again. `evidence` says why, in the words of `dim_suppression`."""

    def __init__(self, service: str, message: str, *, evidence: str, status: int | None = None) -> None:
        self.evidence = evidence
        super().__init__(service, message, status=status)


class RateLimited(ApiError):
    """Too many requests. `retry_after` is in seconds, when the service said so."""

    def __init__(
        self,
        service: str,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(service, message, status=status, code=code)
        self.retry_after = retry_after


class TemporaryApiError(ApiError):
    """A fault that may pass: 5xx, a time-out, a cut connection. The request may have been carried out."""


class Unreachable(TemporaryApiError):
    """No connection came about: the request was certainly not carried out."""


class SourceError(LetterTrailError):
    """The Bitrix database could not be read."""


class WarehouseError(LetterTrailError):
    """The warehouse broke off, is full, or something holds a lock for too long. Nothing was committed."""


class ContractError(LetterTrailError):
    """Something we rely on is not there."""


class TableMissing(ContractError):
    """The source does not have a table; the catalogue allows for that, most modules are optional."""


class PhpSyntaxError(ContractError):
    """A value is not what PHP's `serialize()` writes; the message says why and at which byte, never the text."""


class LedgerImbalance(LetterTrailError):
    """The ledger's sums do not add up, so the run cannot be trusted."""


class QualityGateFailed(LetterTrailError):
    """A quality door failed; the message names the suite and the failed expectations."""


class BrakeApplied(LetterTrailError):
    """A plan went over its limits; the message says which and how to release it."""


class ErasureIncomplete(LetterTrailError):
    """A service or Bitrix did not say for certain that a person is gone; running again completes it."""
