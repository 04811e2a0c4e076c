"""Who lives in the sample world: people, their addresses and traits, their companies, their CRM cards.

All addresses end in `.example` (RFC 2606), so nothing here can belong to anybody.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

DAY = 86_400
NEVER = np.iinfo(np.int64).max // 4
"""A time after every other; times are seconds since 1970 in UTC."""

SHARE_APPLE = 0.22
SHARE_IN_COMPANIES = 0.16
SHARE_COMPANIES_WITH_SCANNER = 0.55
SHARE_IMAGES_BLOCKED = 0.12
SHARE_BITRIX = 0.93
SHARE_MAILCHIMP = 0.40
SHARE_CHANGED_ADDRESS = 0.03
SHARE_FORMER_STAYS_ON_CARD = 0.5
SHARE_DUPLICATE_CARDS = 0.02
SHARE_DUPLICATES_MERGED = 0.7
SHARE_BEFORE_START = 0.6

FIRST_NAMES = (
    *(("Александр", "aleksandr"), ("Дмитрий", "dmitry"), ("Сергей", "sergey"), ("Андрей", "andrey")),
    *(("Алексей", "alexey"), ("Максим", "maxim"), ("Иван", "ivan"), ("Михаил", "mikhail")),
    *(("Николай", "nikolay"), ("Павел", "pavel"), ("Роман", "roman"), ("Олег", "oleg")),
    *(("Игорь", "igor"), ("Антон", "anton"), ("Денис", "denis"), ("Ильдар", "ildar")),
    *(("Анна", "anna"), ("Мария", "maria"), ("Елена", "elena"), ("Ольга", "olga")),
    *(("Наталья", "natalia"), ("Екатерина", "ekaterina"), ("Татьяна", "tatiana"), ("Ирина", "irina")),
    *(("Светлана", "svetlana"), ("Юлия", "julia"), ("Дарья", "daria"), ("Алина", "alina")),
    *(("Ксения", "ksenia"), ("Вера", "vera"), ("Полина", "polina"), ("Гульнара", "gulnara")),
)
"""The first half are men's names."""
LAST_NAMES = (
    *(("Иванов", "ivanov"), ("Смирнов", "smirnov"), ("Кузнецов", "kuznetsov"), ("Попов", "popov")),
    *(("Васильев", "vasiliev"), ("Петров", "petrov"), ("Соколов", "sokolov"), ("Михайлов", "mikhailov")),
    *(("Новиков", "novikov"), ("Фёдоров", "fedorov"), ("Морозов", "morozov"), ("Волков", "volkov")),
    *(("Алексеев", "alekseev"), ("Лебедев", "lebedev"), ("Семёнов", "semenov"), ("Егоров", "egorov")),
    *(("Павлов", "pavlov"), ("Козлов", "kozlov"), ("Степанов", "stepanov"), ("Орлов", "orlov")),
    *(("Никитин", "nikitin"), ("Захаров", "zakharov"), ("Зайцев", "zaitsev"), ("Соловьёв", "solovyov")),
    *(("Борисов", "borisov"), ("Яковлев", "yakovlev"), ("Григорьев", "grigoriev"), ("Фролов", "frolov")),
    *(("Сафин", "safin"), ("Гусев", "gusev"), ("Титов", "titov"), ("Кудрявцев", "kudryavtsev")),
)
MAILBOX_DOMAINS = ("mail.example", "post.example", "inbox.example", "pochta.example")
COMPANY_WORDS = (
    *(("Ромашка", "romashka"), ("Вектор", "vektor"), ("Альфа", "alfa"), ("Север", "sever")),
    *(("Прогресс", "progress"), ("Меридиан", "meridian"), ("Сфера", "sfera"), ("Горизонт", "gorizont")),
    *(("Лидер", "lider"), ("Каскад", "kaskad"), ("Орион", "orion"), ("Гамма", "gamma")),
)
COMPANY_KINDS = (("Торг", "torg"), ("Строй", "stroy"), ("Сервис", "service"), ("Опт", "opt"), ("Лаб", "lab"))


@dataclass(frozen=True, slots=True)
class Population:
    """The people with their traits. Arrays are indexed by person − 1, unless they say otherwise."""

    people: pd.DataFrame
    """Times as seconds in UTC; `NEVER` where there is none."""
    companies: pd.DataFrame
    cards: pd.DataFrame
    """Duplicate CRM cards: card, person, contact_id, email_as_typed, created_at, merged_at."""
    engagement: Floats
    """How willingly somebody reads; standard normal."""
    buying: Floats
    """Multiplies the chance to leave a lead or to order; mean 1, correlated with `engagement`."""
    images_blocked: Bools
    dies_at: Ints
    """Shape (2, people): when the former and the present mailbox stop to exist."""

    @property
    def size(self) -> int:
        """How many people there are."""
        return len(self.people)


def populate(rng: np.random.Generator, *, count: int, start: int, end: int) -> Population:
    """`count` people known to the business before `end`, the world running from `start` to `end`."""
    person = np.arange(1, count + 1)
    created = _created_at(rng, count=count, start=start, end=end)
    first = rng.integers(0, len(FIRST_NAMES), count)
    last = rng.integers(0, len(LAST_NAMES), count)
    companies = _companies(rng, max(2, round(count * SHARE_IN_COMPANIES / 15)))
    company = np.where(rng.random(count) < SHARE_IN_COMPANIES, rng.integers(1, len(companies) + 1, count), 0).astype(
        np.int64
    )
    apple = (rng.random(count) < SHARE_APPLE) & (company == 0)
    email = _addresses(rng, person=person, first=first, last=last, company=company, apple=apple, companies=companies)

    changed = np.where(
        rng.random(count) < SHARE_CHANGED_ADDRESS,
        rng.integers(start, end, count),
        NEVER,
    )
    changed = np.where(changed > created + 30 * DAY, changed, NEVER)
    former = [
        f"{FIRST_NAMES[f][1]}-{LAST_NAMES[n][1]}-{p}@old.example" for f, n, p in zip(first, last, person, strict=True)
    ]
    has_former = changed < NEVER
    on_bitrix = rng.random(count) < SHARE_BITRIX
    on_mailchimp = (rng.random(count) < SHARE_MAILCHIMP) | ~on_bitrix
    female = first >= len(FIRST_NAMES) // 2
    flowers = rng.random(count) < 0.006
    people = pd.DataFrame(
        {
            "person": person,
            "email": email,
            "email_as_typed": _as_typed(rng, email),
            "former_email": pd.array(
                [f if h else None for f, h in zip(former, has_former, strict=True)], dtype="string"
            ),
            "email_changed_at": changed,
            "former_stays": has_former & (rng.random(count) < SHARE_FORMER_STAYS_ON_CARD),
            "first_name": [
                FIRST_NAMES[f][0] + (" 🌸" if flower else "") for f, flower in zip(first, flowers, strict=True)
            ],
            "last_name": [LAST_NAMES[n][0] + ("а" if woman else "") for n, woman in zip(last, female, strict=True)],
            "phone": [f"+7{900 + p % 99}{p // 99 % 10_000_000:07d}" for p in person.tolist()],
            "created_at": created,
            "apple_mail": apple,
            "corporate_scanner": np.concatenate([[False], companies["has_scanner"].to_numpy(bool)])[company],
            "company": pd.array(np.where(company > 0, company, 0), dtype="Int64"),
            "on_bitrix": on_bitrix,
            "on_mailchimp": on_mailchimp,
            "birthday": _birthdays(rng, count),
        }
    )
    people["company"] = people["company"].mask(people["company"] == 0)
    engagement = rng.normal(size=count)
    buying = np.exp(0.8 * (0.5 * engagement + np.sqrt(0.75) * rng.normal(size=count)) - 0.32)
    return Population(
        people=people,
        companies=companies,
        cards=_cards(rng, people, end=end),
        engagement=engagement,
        buying=buying,
        images_blocked=rng.random(count) < SHARE_IMAGES_BLOCKED,
        dies_at=_deaths(rng, count=count, start=start, end=end),
    )


def _created_at(rng: np.random.Generator, *, count: int, start: int, end: int) -> Ints:
    """Sorted, so that ids grow with time as auto-increment ids do."""
    before = rng.random(count) < SHARE_BEFORE_START
    created = np.where(before, rng.integers(start - 900 * DAY, start, count), rng.integers(start, end - 2 * DAY, count))
    return np.sort(created).astype(np.int64)


def _companies(rng: np.random.Generator, count: int) -> pd.DataFrame:
    kind = rng.integers(0, len(COMPANY_KINDS), count)
    rows = []
    for number in range(count):
        word, slug = COMPANY_WORDS[number % len(COMPANY_WORDS)]
        suffix, suffix_slug = COMPANY_KINDS[kind[number]]
        series = number // len(COMPANY_WORDS)
        tail = f"-{series + 1}" if series else ""
        rows.append(
            {
                "company": number + 1,
                "title": f"ООО «{word}{suffix}{tail}»",
                "domain": f"{slug}{suffix_slug}{tail}.example",
                "phone": f"+7495{number + 1:07d}",
            }
        )
    companies = pd.DataFrame(rows)
    companies["email"] = "info@" + companies["domain"]
    companies["has_scanner"] = rng.random(count) < SHARE_COMPANIES_WITH_SCANNER
    return companies


def _addresses(
    rng: np.random.Generator,
    *,
    person: Ints,
    first: Ints,
    last: Ints,
    company: Ints,
    apple: Bools,
    companies: pd.DataFrame,
) -> list[str]:
    domain = rng.integers(0, len(MAILBOX_DOMAINS), len(person))
    pattern = rng.integers(0, 4, len(person))
    company_domains = ["", *companies["domain"].tolist()]
    addresses = []
    for p, f, n, c, a, d, how in zip(person, first, last, company, apple, domain, pattern, strict=True):
        name, surname = FIRST_NAMES[f][1], LAST_NAMES[n][1]
        # The person's number ends every local part, so that no two are alike.
        local = (f"{name}.{surname}{p}", f"{name[0]}.{surname}{p}", f"{surname}_{name}{p}", f"{name}-{p}")[how]
        host = company_domains[c] if c else ("icloud.example" if a and how % 2 else MAILBOX_DOMAINS[d])
        addresses.append(f"{local}@{host}")
    return addresses


def _as_typed(rng: np.random.Generator, email: list[str]) -> list[str]:
    """What people and managers typed: capitals, and a few blanks nobody trimmed."""
    draw = rng.random(len(email))
    typed = []
    for address, u in zip(email, draw, strict=True):
        if u < 0.10:
            typed.append(address.title())
        elif u < 0.13:
            typed.append(address.upper())
        elif u < 0.20:
            typed.append(address[0].upper() + address[1:])
        elif u < 0.21:
            typed.append(address + " ")
        else:
            typed.append(address)
    return typed


def _birthdays(rng: np.random.Generator, count: int) -> NDArray[np.datetime64]:
    days = rng.integers(-9_000, 12_700, count)  # 1945 to 2004, in days from 1970
    known = rng.random(count) < 0.6
    birthdays = np.where(known, days, 0).astype("datetime64[D]")
    birthdays[~known] = np.datetime64("NaT")
    return birthdays


def _cards(rng: np.random.Generator, people: pd.DataFrame, *, end: int) -> pd.DataFrame:
    """Some people got a second contact card; most of those were merged into the first one later."""
    eligible = people.index[people["on_bitrix"]].to_numpy()
    count = max(4, round(len(eligible) * SHARE_DUPLICATE_CARDS))
    chosen = np.sort(rng.choice(eligible, size=min(count, len(eligible)), replace=False))
    own = people.iloc[chosen]
    created = own["created_at"].to_numpy() + rng.integers(DAY, 200 * DAY, len(chosen))
    merged = np.where(
        rng.random(len(chosen)) < SHARE_DUPLICATES_MERGED, created + rng.integers(DAY, 90 * DAY, len(chosen)), NEVER
    )
    cards = pd.DataFrame(
        {
            "person": own["person"].to_numpy(),
            "email_as_typed": own["email"].str.upper().to_numpy(),
            "created_at": created,
            "merged_at": np.where(merged < end, merged, NEVER),
        }
    )
    cards = cards[cards["created_at"] < end - DAY].sort_values(["created_at", "person"]).reset_index(drop=True)
    cards.insert(0, "card", np.arange(1, len(cards) + 1))
    cards.insert(2, "contact_id", len(people) + cards["card"])
    return cards


def _deaths(rng: np.random.Generator, *, count: int, start: int, end: int) -> Ints:
    dies = np.where(rng.random((2, count)) < 0.025, rng.integers(start, end, (2, count)), NEVER)
    return np.where(rng.random((2, count)) < 0.006, 0, dies).astype(np.int64)
