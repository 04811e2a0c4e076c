"""Custom fields of CRM cards that are ours: how they are made, spelled, and read back (bitrix.md 2.10, 6.5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from lettertrail.errors import ContractError

PREFIX = "UF_CRM_"
Kind = Literal["string", "integer", "boolean", "datetime"]


@dataclass(frozen=True, slots=True)
class UserField:
    """One custom field. Its name is the column of `b_uts_crm_<entity>` too, at most 50 characters."""

    name: str
    kind: Kind
    label: str
    """What people see, in the language of the portal's staff."""
    xml_id: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    def as_fields(self) -> dict[str, Any]:
        """The parameter `fields` of `crm.<entity>.userfield.add`."""
        return {
            "FIELD_NAME": self.name.removeprefix(PREFIX),
            "USER_TYPE_ID": self.kind,
            "XML_ID": self.xml_id or f"LETTERTRAIL_{self.name.removeprefix(PREFIX)}",
            "MULTIPLE": "N",
            "LABEL": self.label,
            "SHOW_FILTER": "Y",
            "SETTINGS": dict(self.settings),
        }

    def is_same(self, wanted: Any, present: Any) -> bool:
        """Whether the portal shows what we want; an empty text, a missing and a null value are one."""
        if wanted in (None, "") or present in (None, ""):
            return wanted in (None, "") and present in (None, "")
        if self.kind == "datetime":
            return _moment(str(wanted)) == _moment(str(present))
        return str(wanted) == str(present)


def missing(wanted: Iterable[UserField], found: Sequence[Mapping[str, Any]], *, entity: str) -> list[UserField]:
    """Those of `wanted` that are not among the rows of `crm.<entity>.userfield.list`.

    Raises:
        ContractError: a field of that name exists with another type.
    """
    kinds = {str(row.get("FIELD_NAME")): row.get("USER_TYPE_ID") for row in found}
    for each in wanted:
        if kinds.get(each.name, each.kind) != each.kind:
            raise ContractError(f"bitrix: {entity} field {each.name} exists but is not of type {each.kind}; rename it")
    return [each for each in wanted if each.name not in kinds]


def _moment(text: str) -> datetime | None:
    """In UTC and whole seconds; None for what is no time with an offset."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(UTC).replace(microsecond=0) if moment.tzinfo else None
