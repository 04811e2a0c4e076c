"""The account itself: what a key is checked with, and the definitions of the fields."""

from __future__ import annotations

import json

from lettertrail.sandbox.esps.esputnik.contacts import ADDRESS_BOOK
from lettertrail.sandbox.esps.esputnik.router import EsputnikRouter
from lettertrail.sandbox.esps.esputnik.store import EsputnikStore
from lettertrail.sandbox.esps.shell import Answer, Call

router = EsputnikRouter()


@router.on("GET", "/v1/account/info")
def get_account(store: EsputnikStore, call: Call) -> Answer:
    """Whose key it is (U: the fields)."""
    return Answer({"userEmail": store.fact("login") or "", "organisationName": "Shop"})


@router.on("GET", "/v1/version")
def get_version(store: EsputnikStore, call: Call) -> Answer:
    """The service's version."""
    return Answer({"version": "1.0", "protocolVersion": "1.0"})


@router.on("GET", "/v1/balance")
def get_balance(store: EsputnikStore, call: Call) -> Answer:
    """The account's money."""
    return Answer({"currentBalance": 0, "creditLimit": 0, "currency": "UAH", "bonusEmails": 0, "bonusSmses": 0})


@router.on("GET", "/v1/addressbooks")
def get_fields(store: EsputnikStore, call: Call) -> Answer:
    """The custom fields."""
    fields = [
        {
            "id": row["id"],
            "name": row["name"],
            "description": {
                "type": row["type"],
                "required": False,
                "readonly": False,
                "allowedValues": {
                    "possibleValues": json.loads(row["possible_values"]),
                    "minValue": None,
                    "maxValue": None,
                },
            },
        }
        for row in store.rows("select * from fields order by id")
    ]
    groups = [{"name": "Personal", "fields": fields}]
    return Answer({"addressBook": {"addressBookId": ADDRESS_BOOK, "name": "Contacts", "fieldGroups": groups}})


@router.on("GET", "/v1/callouts/sms")
def list_sms(store: EsputnikStore, call: Call) -> Answer:
    """Totals of text message campaigns, of which there are none; there is no such call for e-mail."""
    return Answer([])
