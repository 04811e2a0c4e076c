"""The custom fields somebody made on the sample site's CRM cards (bitrix.md 2.10).

Each is a column of `b_uts_crm_<entity>`, a row of `b_user_field` and, when multiple, rows of `b_utm_crm_<entity>`.
UF_CRM_EMAIL_MARKETING is not among them: it is made through REST when the first flag is pushed back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_MYSQL_TYPES: Final[Mapping[str, str]] = {
    "string": "text",
    "integer": "int",
    "boolean": "int",
    "enumeration": "int",
    "double": "double",
    "date": "date",
    "datetime": "datetime",
    "money": "varchar(200)",
}


@dataclass(frozen=True, slots=True)
class UserField:
    """One field; its place in `USER_FIELDS`, counted from 1, is its `b_user_field.ID`."""

    entity: str
    """CONTACT, LEAD, DEAL or COMPANY."""
    name: str
    kind: str
    """`b_user_field.USER_TYPE_ID`."""
    label: str = ""
    """What people see; the field's name when nobody gave one."""
    is_multiple: bool = False
    choices: tuple[str, ...] = ()
    """The values of an enumeration, in the order of their ids."""

    @property
    def table(self) -> str:
        """Where the single values are."""
        return f"b_uts_crm_{self.entity.lower()}"

    @property
    def multiple_table(self) -> str:
        """Where each value of a multiple field has a row."""
        return f"b_utm_crm_{self.entity.lower()}"

    @property
    def mysql_type(self) -> str:
        """The type of the column in `table`; a multiple field has all values there, PHP-serialized."""
        return "text" if self.is_multiple else _MYSQL_TYPES[self.kind]


USER_FIELDS: Final = (
    UserField("CONTACT", "UF_CRM_LOYALTY_LEVEL", "integer"),
    UserField("CONTACT", "UF_CRM_SHOE_SIZE", "double"),
    UserField("CONTACT", "UF_CRM_INTERESTS", "string", is_multiple=True),
    UserField("CONTACT", "UF_CRM_LAST_VISIT", "datetime"),
    UserField("CONTACT", "UF_CRM_1690000000001", "string"),
    UserField("LEAD", "UF_CRM_1690000000002", "string"),
    UserField("DEAL", "UF_CRM_MARGIN", "money"),
    UserField("DEAL", "UF_CRM_DELIVERY_DATE", "date"),
    UserField("COMPANY", "UF_CRM_INN", "string"),
    UserField("CONTACT", "UF_CRM_CHANNEL", "enumeration", "Канал связи", choices=("Почта", "Телефон", "Мессенджер")),
    UserField(
        "CONTACT", "UF_CRM_TOPICS", "enumeration", "Темы писем", is_multiple=True, choices=("Скидки", "Новинки", "Блог")
    ),
    UserField("CONTACT", "UF_CRM_CLIENT_SINCE", "date", "Клиент с"),
    UserField("CONTACT", "UF_CRM_BONUS_BALANCE", "money", "Бонусы"),
    UserField("CONTACT", "UF_CRM_HAS_CARD", "boolean", "Есть карта"),
    UserField(
        "LEAD", "UF_CRM_PRODUCT", "enumeration", "Товар", choices=("Ботинки", "Палатка", "Велосипед &amp; сервис")
    ),
    UserField("LEAD", "UF_CRM_NEEDS", "string", "Что нужно", is_multiple=True),
    UserField("LEAD", "UF_CRM_CALL_ON", "date", "Позвонить"),
    UserField("LEAD", "UF_CRM_BUDGET", "money", "Бюджет"),
    UserField("DEAL", "UF_CRM_REASON", "enumeration", "Повод", choices=("Письмо", "Реклама", "Совет", "Другое")),
    UserField("DEAL", "UF_CRM_PAY_DAYS", "date", "Дни оплаты", is_multiple=True),
    UserField("COMPANY", "UF_CRM_SEGMENT", "enumeration", "Сегмент", choices=("Малый", "Средний", "Крупный")),
    UserField("COMPANY", "UF_CRM_BRANDS", "string", "Бренды", is_multiple=True),
    UserField("COMPANY", "UF_CRM_CONTRACT_ON", "date", "Договор от"),
    UserField("COMPANY", "UF_CRM_CREDIT_LIMIT", "money", "Кредит"),
    UserField("CONTACT", "UF_CRM_EMAIL_CONSENT", "boolean", "Согласие на письма"),
    UserField("CONTACT", "UF_CRM_EMAIL_CONSENT_AT", "datetime", "Согласие от"),
    UserField("CONTACT", "UF_CRM_EMAIL_CONSENT_TEXT", "string", "Текст согласия"),
    UserField("CONTACT", "UF_CRM_MAIL_NEWS", "boolean", "Новости компании"),
    UserField("CONTACT", "UF_CRM_MAIL_SALES", "boolean", "Скидки и акции"),
    UserField("CONTACT", "UF_CRM_MAIL_PRODUCTS", "boolean", "Новинки"),
    UserField("CONTACT", "UF_CRM_MAIL_EVENTS", "boolean", "Приглашения"),
)


def fields_of(table: str) -> tuple[UserField, ...]:
    """The fields with a column in `b_uts_crm_<entity>`, in the order of the columns."""
    return tuple(field for field in USER_FIELDS if field.table == table)


def field_id(name: str) -> int:
    """`b_user_field.ID`; names are unique over all entities here."""
    return [field.name for field in USER_FIELDS].index(name) + 1


def choice_ids(name: str) -> tuple[int, ...]:
    """`b_user_field_enum.ID` of a field's values."""
    first = 1
    for field in USER_FIELDS:
        if field.name == name:
            return tuple(range(first, first + len(field.choices)))
        first += len(field.choices)
    raise KeyError(name)
