"""What is sent in the sample world: 70 Bitrix letters in three campaigns and 10 Mailchimp campaigns.

Bitrix letters 1..3 are a welcome chain (a trigger campaign, dispatched once a month), 4..70 go out one by one, and one
of them (`REPEATED_LETTER`) is repeated in several dispatches. The last one is still being sent when the world ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lettertrail.sandbox.world_people import DAY, Floats

BITRIX_LETTERS = 70
MAILCHIMP_LETTERS = 10
WELCOME_LETTERS = 3
WELCOME_SHIFT_MINUTES = (10, 3 * 24 * 60, 10 * 24 * 60)
REPEATED_LETTER = 20
REPEATS = 4
REPEAT_DAYS = 45
HOUR = 3_600
MOSCOW_OFFSET = 3 * HOUR
NEWS, PROMO, WELCOME = 1, 2, 3
CAMPAIGN_NAMES = {NEWS: "Новости магазина", PROMO: "Акции и скидки", WELCOME: "Знакомство"}
CAMPAIGN_SLUGS = {NEWS: "news", PROMO: "promo", WELCOME: "welcome"}
SITE = "https://shop.example"

_TOPICS = (
    ("Новая коллекция: зима", "winter", "catalog/winter"),
    ("Как выбрать ботинки", "boots", "blog/boots"),
    ("🔥 Скидки недели", "sale", "sale"),
    ("Тёплые куртки уже здесь", "jackets", "catalog/jackets"),
    ("Возвращаем 10% бонусами", "bonus", "bonus"),
    ("Приглашаем на день открытых дверей", "open-day", "events/open-day"),
    ("Рюкзаки в поход: сравниваем пять", "backpacks", "blog/backpacks"),
    ("🎁 Подарок к заказу", "gift", "gifts"),
    ("Распродажа последних размеров", "last-sizes", "sale/last-sizes"),
    ("Обзор: палатки до 4 мест", "tents", "blog/tents"),
    ("Для компаний: корпоративные заказы", "b2b", "b2b"),
    ("Велосипеды: пора на обслуживание", "bikes", "service/bikes"),
)
_SEARCH = "поиск?q=зимние ботинки"


@dataclass(frozen=True, slots=True)
class Programme:
    """The letters, their dispatches (a dispatch is one run of a letter) and what they are worth."""

    letters: pd.DataFrame
    dispatches: pd.DataFrame
    """dispatch, letter, channel, campaign, wave, started_at (seconds, UTC), per_second (speed); in time order."""
    open_appeal: Floats
    click_appeal: Floats
    sales_appeal: Floats
    """Indexed by letter − 1. The first two are added to a logit, the last multiplies a probability (mean 1)."""


def plan(rng: np.random.Generator, *, start: int, end: int) -> Programme:
    """The letters sent between `start` and `end` (seconds, UTC)."""
    count = BITRIX_LETTERS + MAILCHIMP_LETTERS
    topic = rng.permutation(np.arange(count) % len(_TOPICS))
    sent_at = np.concatenate([_bitrix_times(rng, start, end), _mailchimp_times(rng, start, end)])
    rows = []
    for number in range(1, count + 1):
        rows.append(_letter(number, int(sent_at[number - 1]), _TOPICS[topic[number - 1]], rng))
    letters = pd.DataFrame(rows)
    return Programme(
        letters=letters,
        dispatches=_dispatches(letters, start=start, end=end),
        open_appeal=rng.normal(0, 0.35, count),
        click_appeal=rng.normal(0, 0.5, count),
        sales_appeal=np.exp(rng.normal(-0.18, 0.6, count)),
    )


def _bitrix_times(rng: np.random.Generator, start: int, end: int) -> list[int]:
    times = [start + DAY] * WELCOME_LETTERS
    singles = BITRIX_LETTERS - WELCOME_LETTERS
    step = (end - start - 10 * DAY) / singles
    for number in range(singles - 1):
        day = (start + 5 * DAY + number * step + rng.integers(0, 2 * DAY)) // DAY * DAY
        times.append(int(day + rng.choice([10, 11, 18]) * HOUR + rng.integers(0, 50) * 60 - MOSCOW_OFFSET))
    times.append(end - 3 * HOUR)
    return times


def _mailchimp_times(rng: np.random.Generator, start: int, end: int) -> list[int]:
    step = (end - start - 20 * DAY) / MAILCHIMP_LETTERS
    return [
        int((start + 15 * DAY + number * step) // DAY * DAY + 12 * HOUR + int(rng.integers(0, 59)) * 60 - MOSCOW_OFFSET)
        for number in range(MAILCHIMP_LETTERS)
    ]


def _letter(number: int, sent_at: int, topic: tuple[str, str, str], rng: np.random.Generator) -> dict[str, object]:
    subject, slug, path = topic
    day = str(np.datetime64(sent_at + MOSCOW_OFFSET, "s").astype("datetime64[D]"))
    mailchimp = number > BITRIX_LETTERS
    if number <= WELCOME_LETTERS:
        campaign = WELCOME
        subject = ("Рады знакомству!", "С чего начать", "Ваша первая скидка 😀")[number - 1]
    else:
        campaign = int(rng.choice([NEWS, PROMO], p=[0.6, 0.4]))
    if number == REPEATED_LETTER:
        campaign = PROMO
    # Some letters keep the editor's default utm_campaign=%campaign%, which many letters then share.
    precise = mailchimp or bool(rng.random() < 0.65)
    links = [f"{SITE}/{path}", f"{SITE}/catalog", f"{SITE}/contacts"]
    if rng.random() < 0.5:
        links.append(f"{SITE}/bonus?card=1")
    if rng.random() < 0.2:
        links.append(f"{SITE}/{_SEARCH}")
    return {
        "letter": number,
        "channel": "mailchimp" if mailchimp else "bitrix",
        "campaign": pd.NA if mailchimp else campaign,
        "title": f"{day} {subject}",
        "subject": f"{subject}, #NAME#" if rng.random() < 0.2 and not mailchimp else subject,
        "utm_source": "mailchimp" if mailchimp else "newsletter",
        "utm_medium": "email" if mailchimp else "mail",
        "utm_campaign": f"{slug}-{day}" if precise else CAMPAIGN_NAMES[campaign],
        "utm_content": str(number) if precise and not mailchimp else pd.NA,
        "sent_at": sent_at,
        "urls": links,
    }


def _dispatches(letters: pd.DataFrame, *, start: int, end: int) -> pd.DataFrame:
    rows: list[tuple[int, int, int, float]] = []
    for number, sent_at in zip(letters["letter"], letters["sent_at"], strict=True):
        if number <= WELCOME_LETTERS:
            months = int((end - start) // (30 * DAY))
            rows += [(number, wave + 1, start + wave * 30 * DAY, 0.0) for wave in range(months)]
        elif number == REPEATED_LETTER:
            waves = [int(sent_at) + wave * REPEAT_DAYS * DAY for wave in range(REPEATS)]
            rows += [(number, wave, at, 12.0) for wave, at in enumerate(waves, start=1) if at < end]
        else:
            rows.append((number, 1, int(sent_at), 12.0))
    dispatches = pd.DataFrame(rows, columns=["letter", "wave", "started_at", "per_second"])
    dispatches = dispatches.merge(letters[["letter", "channel", "campaign"]], on="letter")
    dispatches = dispatches.sort_values(["started_at", "letter", "wave"]).reset_index(drop=True)
    dispatches.insert(0, "dispatch", np.arange(1, len(dispatches) + 1))
    return dispatches
