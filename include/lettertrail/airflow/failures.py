"""Our errors in Airflow's words: what retrying cannot mend fails at once, the rest is retried with growing delay."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from lettertrail.errors import (
    AuthenticationError,
    BrakeApplied,
    ConfigurationError,
    ContractError,
    LedgerImbalance,
    QualityGateFailed,
    RateLimited,
    RequestRejected,
)

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=[
                AuthenticationError,
                BrakeApplied,
                ConfigurationError,
                ContractError,
                LedgerImbalance,
                QualityGateFailed,
                RequestRejected,
            ],
            action=RetryAction.FAIL,
            reason="a person has to act; the message says how",
        ),
        RetryRule(exception=RateLimited, retry_delay=timedelta(minutes=5), reason="the service asked us to wait"),
    ]
)

DEFAULT_ARGS: dict[str, Any] = {
    "owner": "lettertrail",
    "retries": 3,
    "retry_delay": timedelta(seconds=30),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=10),
    "retry_policy": RETRY_POLICY,
    "execution_timeout": timedelta(hours=1),
}
