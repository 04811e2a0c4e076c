"""Custom fields of the sample site: their catalogue, their enumerations and their values (bitrix.md 2.10)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lettertrail.sandbox import php
from lettertrail.sandbox.bitrix_rows import ZERO_DATE, Writer, by_column, local, yes_no
from lettertrail.sandbox.bitrix_user_fields import USER_FIELDS, UserField, choice_ids, field_id
from lettertrail.sandbox.world import World

Ids = NDArray[np.int64]
Values = Sequence[tuple[int, Sequence[object]]]
"""Card id → the values of a multiple field."""

INTERESTS = (("Туризм",), ("Туризм", "Велоспорт"), ("Бег",))
MAIL_FIELDS = ("UF_CRM_MAIL_NEWS", "UF_CRM_MAIL_SALES", "UF_CRM_MAIL_PRODUCTS", "UF_CRM_MAIL_EVENTS")
REMOVED_CHOICE = 999
"""An enumeration value that somebody deleted; the card still has its id."""
EVERY_NTH_LEAD = 3


def write_field_catalogue(writer: Writer) -> None:
    """Writes what the fields are, what they are called and what an enumeration may be."""
    ids = list(range(1, len(USER_FIELDS) + 1))
    writer.write(
        "b_user_field",
        {
            "ID": ids,
            "ENTITY_ID": [f"CRM_{field.entity}" for field in USER_FIELDS],
            "FIELD_NAME": [field.name for field in USER_FIELDS],
            "USER_TYPE_ID": [field.kind for field in USER_FIELDS],
            "SORT": 100,
            "MULTIPLE": yes_no([field.is_multiple for field in USER_FIELDS]),
            "SETTINGS": [_settings(field) for field in USER_FIELDS],
        },
    )
    labels = [field.label or field.name for field in USER_FIELDS]
    writer.write(
        "b_user_field_lang",
        {"USER_FIELD_ID": ids, "LANGUAGE_ID": "ru", "EDIT_FORM_LABEL": labels, "LIST_COLUMN_LABEL": labels},
    )
    rows = [
        (choice, number, value, "Y" if place == 0 else "N", 100 * (place + 1), f"{field.name.lower()}_{place}")
        for number, field in enumerate(USER_FIELDS, start=1)
        if field.choices
        for place, (choice, value) in enumerate(zip(choice_ids(field.name), field.choices, strict=True))
    ]
    writer.write("b_user_field_enum", by_column("ID USER_FIELD_ID VALUE DEF SORT XML_ID", rows))


def _settings(field: UserField) -> str:
    match field.kind:
        case "enumeration":
            settings: dict[str, object] = {"DISPLAY": "UI", "LIST_HEIGHT": 3, "CAPTION_NO_VALUE": "не выбрано"}
        case "money" if field.label:
            settings = {"DEFAULT_VALUE": "0|RUB"}
        case "date" if field.label:
            settings = {"DEFAULT_VALUE": {"TYPE": "NONE", "VALUE": ""}}
        case _:
            settings = {"SIZE": 20, "ROWS": 1, "DEFAULT_VALUE": ""}
    return php.serialize(settings)


def contact_values(cards: Sequence[int], created: NDArray[np.datetime64]) -> dict[str, object]:
    """The newer columns of `b_uts_crm_contact` for these cards; drawn from nothing, so that older columns stay."""
    channels = choice_ids("UF_CRM_CHANNEL")
    since: list[object] = list(created.astype("datetime64[D]").astype(str))
    if len(since) > 3:
        since[3] = ZERO_DATE
    return {
        "UF_CRM_CHANNEL": [
            REMOVED_CHOICE if card % 50 == 7 else (None if card % 4 == 0 else channels[card % 3]) for card in cards
        ],
        "UF_CRM_TOPICS": [_multiple_text(topics, card) for card, topics in _topics(cards)],
        "UF_CRM_CLIENT_SINCE": since,
        "UF_CRM_BONUS_BALANCE": [_bonus(card) for card in cards],
        "UF_CRM_HAS_CARD": [None if card % 7 == 0 else card % 2 for card in cards],
        **_consent_values(cards, created),
        **{name: [_wish(card, place) for card in cards] for place, name in enumerate(MAIL_FIELDS)},
    }


def _consent_values(cards: Sequence[int], created: NDArray[np.datetime64]) -> dict[str, object]:
    """Most were asked, few said no, and an employee did not always write down when."""
    days = created.astype("datetime64[s]").astype(str)
    return {
        "UF_CRM_EMAIL_CONSENT": [None if card % 6 == 0 else int(card % 23 != 1) for card in cards],
        "UF_CRM_EMAIL_CONSENT_AT": [
            None if card % 6 == 0 or card % 5 == 0 else day.replace("T", " ")
            for card, day in zip(cards, days, strict=True)
        ],
        "UF_CRM_EMAIL_CONSENT_TEXT": [None if card % 6 == 0 else f"2025-{card % 2 + 1}" for card in cards],
    }


def _wish(card: int, place: int) -> int | None:
    """What a card says about one category of letters: wanted, not wanted, never asked."""
    return (1, None, 1, 0, None, 1)[(card + card // 7 + place * 5) % 6]


def _bonus(card: int) -> str | None:
    """Money is amount and currency with a bar between; emptied fields keep the bar."""
    if card % 5 == 0:
        return None
    return "|RUB" if card % 11 == 0 else f"{card % 900}.{card % 100:02d}|RUB"


def _topics(cards: Sequence[int]) -> Values:
    topics = choice_ids("UF_CRM_TOPICS")
    return [(card, topics[: card % 4]) for card in cards]


def _multiple_text(values: Sequence[object], card: int) -> str | None:
    """A card whose last value was taken away holds an empty array, false or nothing."""
    if values:
        return php.serialize(list(values))
    return (php.serialize([]), php.serialize(False), None)[card // 4 % 3]


def write_contact_multiples(writer: Writer, cards: Sequence[int], interests: Sequence[int]) -> None:
    """Writes a row for each value that the contacts' multiple fields hold; `interests`: places in `INTERESTS`."""
    _write_multiple(
        writer,
        {
            "UF_CRM_INTERESTS": [(card, INTERESTS[kind]) for card, kind in zip(cards, interests, strict=True)],
            "UF_CRM_TOPICS": _topics(cards),
        },
    )


def deal_values(deals: Sequence[int], closed: NDArray[np.datetime64]) -> dict[str, object]:
    """The newer columns of `b_uts_crm_deal`."""
    reasons = choice_ids("UF_CRM_REASON")
    return {
        "UF_CRM_REASON": [None if deal % 3 == 0 else reasons[deal % 4] for deal in deals],
        "UF_CRM_PAY_DAYS": [
            php.serialize([_as_typed(day) for day in days]) if days else None for _, days in _pay_days(deals, closed)
        ],
    }


def write_deal_multiples(writer: Writer, deals: Sequence[int], closed: NDArray[np.datetime64]) -> None:
    """Writes a row for each value that the deals' multiple fields hold."""
    _write_multiple(writer, {"UF_CRM_PAY_DAYS": _pay_days(deals, closed)})


def _pay_days(deals: Sequence[int], closed: NDArray[np.datetime64]) -> list[tuple[int, list[str]]]:
    return [
        (deal, [str(day + np.timedelta64(30 * step, "D")) for step in range(deal % 3)])
        for deal, day in zip(deals, closed.astype("datetime64[D]"), strict=True)
    ]


def _as_typed(day: str) -> str:
    """A date inside a serialized array has the site's own form."""
    year, month, number = day.split("-")
    return f"{number}.{month}.{year}"


def write_lead_and_company_fields(writer: Writer, world: World) -> None:
    """Writes the values of leads and companies; contacts and deals write theirs with the cards."""
    leads = world.leads[world.leads["lead"] % EVERY_NTH_LEAD == 0]
    ids = leads["lead"].tolist()
    needs = [(lead, ["Доставка", "Примерка", 'Размер "46"'][: lead % 4]) for lead in ids]
    products = choice_ids("UF_CRM_PRODUCT")
    writer.write(
        "b_uts_crm_lead",
        {
            "VALUE_ID": ids,
            "UF_CRM_1690000000002": ["из &quot;Инстаграма&quot;" if lead % 2 else None for lead in ids],
            "UF_CRM_PRODUCT": [products[lead % 3] for lead in ids],
            "UF_CRM_NEEDS": [_multiple_text(values, lead) for lead, values in needs],
            "UF_CRM_CALL_ON": local(leads["created_at"] + pd.Timedelta(days=3)).astype("datetime64[D]"),
            "UF_CRM_BUDGET": [f"{lead * 100}|RUB" if lead % 2 else None for lead in ids],
        },
    )
    companies = world.companies["company"].tolist()
    brands = [(company, ["Пик", "Вершина"][: company % 3]) for company in companies]
    segments = choice_ids("UF_CRM_SEGMENT")
    began = np.datetime64(world.started_at.date(), "D")
    writer.write(
        "b_uts_crm_company",
        {
            "VALUE_ID": companies,
            "UF_CRM_INN": [f"77{company:08d}" for company in companies],
            "UF_CRM_SEGMENT": [segments[company % 3] for company in companies],
            "UF_CRM_BRANDS": [_multiple_text(values, company) for company, values in brands],
            "UF_CRM_CONTRACT_ON": began - np.arange(len(companies)),
            "UF_CRM_CREDIT_LIMIT": [f"{company * 1000}.50|RUB" for company in companies],
        },
    )
    _write_multiple(writer, {"UF_CRM_NEEDS": needs})
    _write_multiple(writer, {"UF_CRM_BRANDS": brands})


def _write_multiple(writer: Writer, fields: dict[str, Values]) -> None:
    """One row per value, in the column of the field's base type."""
    rows: list[tuple[int, int, object, object, object]] = []
    for name, owners in fields.items():
        number = field_id(name)
        kind = USER_FIELDS[number - 1].kind
        for owner, values in owners:
            for value in values:
                text = value if kind == "string" else None
                whole = value if kind == "enumeration" else None
                day = value if kind == "date" else None
                rows.append((owner, number, text, whole, day))
    table = USER_FIELDS[field_id(next(iter(fields))) - 1].multiple_table
    writer.write(table, by_column("VALUE_ID FIELD_ID VALUE VALUE_INT VALUE_DATE", rows))
