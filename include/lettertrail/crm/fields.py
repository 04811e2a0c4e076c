"""The custom fields that LetterTrail keeps on CRM cards, and the mart column each one shows.

A field of ours begins with `UF_CRM_LT_`, so that none is mistaken for a field in which the site itself keeps consents
(dbt vars `crm_consent_*`): what we write must never come back as a statement of the person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lettertrail.bitrix.user_fields import UserField


@dataclass(frozen=True, slots=True)
class CardFields:
    """What is shown on the cards of one entity."""

    audience: str
    """Its name in `ops`."""
    entity: str
    """contact, lead or deal, as in `crm.<entity>.update`."""
    relation: tuple[str, str]
    """Schema and table of the mart; one row per card."""
    key: str
    """The mart's column with the card's id."""
    columns: Mapping[str, UserField]
    """Column of the mart → field of the card."""


_OF_PEOPLE = {
    "last_opened_at": UserField("UF_CRM_LT_OPENED_AT", "datetime", "Последнее открытие письма"),
    "last_clicked_at": UserField("UF_CRM_LT_CLICKED_AT", "datetime", "Последний переход из письма"),
    "best_letter": UserField("UF_CRM_LT_BEST_LETTER", "string", "Лучшее письмо"),
    "consented_at": UserField("UF_CRM_LT_CONSENT_AT", "datetime", "Согласие на рассылку: дата"),
    "consent_source": UserField("UF_CRM_LT_CONSENT_SOURCE", "string", "Согласие на рассылку: источник"),
    "consent_text": UserField("UF_CRM_LT_CONSENT_TEXT", "string", "Согласие на рассылку: текст"),
}
CONTACTS = CardFields("contact_fields", "contact", ("marts", "mart_crm_contact_fields"), "contact_id", _OF_PEOPLE)
LEADS = CardFields("lead_fields", "lead", ("marts", "mart_crm_lead_fields"), "lead_id", _OF_PEOPLE)
DEALS = CardFields(
    "deal_letters",
    "deal",
    ("marts", "mart_crm_deal_letters"),
    "deal_id",
    {
        "letter": UserField("UF_CRM_LT_LETTER", "string", "Письмо, которое привело сделку"),
        "letter_id": UserField("UF_CRM_LT_LETTER_ID", "string", "Номер этого письма"),
        "credit_percent": UserField("UF_CRM_LT_LETTER_SHARE", "integer", "Доля письма в сделке, %"),
        "model": UserField("UF_CRM_LT_LETTER_MODEL", "string", "Модель атрибуции"),
    },
)
ALL = {each.audience: each for each in (CONTACTS, LEADS, DEALS)}
"""By audience, in the order in which they are pushed."""
