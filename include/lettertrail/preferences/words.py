"""What the pages say, in each language.

Whoever changes a sentence here changes what people agree to: the version stored with each choice is made from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Words:
    """One language."""

    name: str
    """Of the language, in itself."""
    title: str
    title_of: str
    """With `{sender}`."""
    intro: str
    categories: Mapping[str, tuple[str, str]]
    """Name and explanation."""
    legend: str
    agreement: str
    save: str
    leave_title: str
    leave_text: str
    leave: str
    saved: str
    returned: str
    left_now: str
    has_left: str
    is_final: str
    text_changed: str
    one_click_text: str
    unknown_title: str
    unknown_text: str
    failed_title: str
    failed_text: str
    refused_title: str
    refused_text: str


ENGLISH = Words(
    name="English",
    title="Your e-mails from us",
    title_of="Your e-mails from {sender}",
    intro="Tick what we may send to this address. What is not ticked we do not send.",
    categories={
        "company_news": ("Company news", "What is new with us, now and then"),
        "sales_and_discounts": ("Sales and discounts", "Special offers and promotions"),
        "product_updates": ("Product updates", "New goods, features and changes"),
        "event_invitations": ("Event invitations", "Exhibitions, webinars and meetings"),
    },
    legend="What may we write to you about?",
    agreement="By saving you agree to get e-mails about what you ticked. With nothing ticked you leave altogether. "
    "You can change this here at any time.",
    save="Save",
    leave_title="Leave altogether",
    leave_text="No newsletter and no offer any more. Letters about your orders still come.",
    leave="Unsubscribe from everything",
    saved="Saved. It will be so everywhere within some minutes.",
    returned="Saved. As you had left before, a mailing service of ours may ask you to confirm that you are back.",
    left_now="You have left. We will not write to you any more; a letter that is on its way already may still come.",
    has_left="You have left, and we do not write to you. To come back, tick what you want and save.",
    is_final="We do not write to this address any more, and this page cannot change that. If you want e-mails from us "
    "again, please tell us yourself.",
    text_changed="The text of this page has changed since you opened it. Please look once more and save again.",
    one_click_text="We will not write to this address any more. Letters about your orders still come.",
    unknown_title="This link does not work",
    unknown_text="It may have been cut off. Please open it from the letter again, or take the link in a newer letter.",
    failed_title="This did not work just now",
    failed_text="Nothing was changed. Please try again in a minute.",
    refused_title="This request cannot be read",
    refused_text="Nothing was changed. Please open the link in the letter once more.",
)

RUSSIAN = Words(
    name="Русский",
    title="Ваши письма от нас",
    title_of="Ваши письма от {sender}",
    intro="Отметьте, что можно присылать на этот адрес. Чего вы не отметили, мы не присылаем.",
    categories={
        "company_news": ("Новости компании", "Изредка о том, что у нас нового"),
        "sales_and_discounts": ("Скидки и акции", "Распродажи и специальные предложения"),
        "product_updates": ("Новинки и обновления", "Новые товары, возможности и изменения"),
        "event_invitations": ("Приглашения на мероприятия", "Выставки, вебинары и встречи"),
    },
    legend="О чём вам можно писать?",
    agreement="Сохраняя, вы соглашаетесь получать письма на отмеченные темы. Если не отмечено ничего, вы отписываетесь "
    "от всех рассылок. Изменить выбор можно здесь в любое время.",
    save="Сохранить",
    leave_title="Отписаться от всего",
    leave_text="Больше никаких рассылок и предложений. Письма о ваших заказах приходить будут.",
    leave="Отписаться от всех рассылок",
    saved="Сохранено. Через несколько минут это учтут все наши системы.",
    returned="Сохранено. Раньше вы отписывались, поэтому сервис рассылок может попросить вас подтвердить возвращение.",
    left_now="Вы отписались. Мы больше не будем вам писать; письмо, которое уже в пути, может ещё прийти.",
    has_left="Вы отписались, и мы вам не пишем. Чтобы вернуться, отметьте нужное и сохраните.",
    is_final="На этот адрес мы больше не пишем, и изменить это здесь нельзя. Если вы снова хотите получать письма, "
    "пожалуйста, сообщите нам об этом сами.",
    text_changed="Пока страница была открыта, её текст изменился. Пожалуйста, посмотрите ещё раз и сохраните снова.",
    one_click_text="Мы больше не будем писать на этот адрес. Письма о ваших заказах приходить будут.",
    unknown_title="Ссылка не работает",
    unknown_text="Возможно, она обрезана. Откройте её из письма ещё раз или возьмите ссылку из более нового письма.",
    failed_title="Сейчас не получилось",
    failed_text="Ничего не изменилось. Попробуйте, пожалуйста, через минуту.",
    refused_title="Запрос не удалось прочитать",
    refused_text="Ничего не изменилось. Откройте, пожалуйста, ссылку из письма ещё раз.",
)

LANGUAGES: Mapping[str, Words] = {"en": ENGLISH, "ru": RUSSIAN}
"""By code; the first is for whoever asks for none of them."""
