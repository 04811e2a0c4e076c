"""The CRM of the sample site: cards, leads, deals, their links, tags, traces and history (bitrix.md 2)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlencode

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lettertrail.sandbox import php
from lettertrail.sandbox.bitrix_deals import write_deals
from lettertrail.sandbox.bitrix_refusals import EMPLOYEES
from lettertrail.sandbox.bitrix_rows import ZERO_DATE, ZERO_DATETIME, Writer, by_column, local, yes_no
from lettertrail.sandbox.bitrix_site_fields import INTERESTS, contact_values, write_contact_multiples
from lettertrail.sandbox.world import World
from lettertrail.sandbox.world_letters import SITE

LEAD, DEAL, CONTACT, COMPANY = 1, 2, 3, 4
UTM_COLUMNS = ("utm_source", "utm_medium", "utm_campaign", "utm_content")
SHARE_LEADS_WITH_CARD = 0.55
SHARE_LEADS_WITHOUT_EMAIL = 0.03
SHARE_SECOND_ADDRESS = 0.06
SHARE_MAILING_TYPE = 0.08

Moments = NDArray[np.datetime64]


def write_crm(writer: Writer, world: World, rng: np.random.Generator, *, recipient_of_send: NDArray[np.int64]) -> None:
    """Writes all CRM tables."""
    leads = _with_links(world, rng)
    _write_contacts(writer, world, rng, leads)
    _write_companies(writer, world)
    _write_leads(writer, leads)
    write_deals(writer, world)
    _write_addresses(writer, world, rng, leads)
    _write_tags(writer, world, leads)
    _write_traces(writer, world, leads, recipient_of_send)
    _write_recycle_bin(writer, world)


def _with_links(world: World, rng: np.random.Generator) -> pd.DataFrame:
    """Leads with what a form knew: whether an e-mail was left, and whether Bitrix recognised the card."""
    leads = world.leads.merge(
        world.people[
            ["person", "first_name", "last_name", "email", "email_as_typed", "phone", "on_bitrix", "created_at"]
        ],
        on="person",
        suffixes=("", "_person"),
    ).sort_values("lead")
    has_email = rng.random(len(leads)) >= SHARE_LEADS_WITHOUT_EMAIL
    known = (rng.random(len(leads)) < SHARE_LEADS_WITH_CARD) & leads["on_bitrix"].to_numpy(bool)
    # A converted lead is always tied to the card it made.
    known |= (leads["status"] == "converted").to_numpy()
    return leads.assign(has_email=has_email, contact=np.where(known, leads["person"], 0)).reset_index(drop=True)


def _moved_at(world: World, column: str, frame: pd.DataFrame) -> pd.Series:
    """The latest time in `column` of each person's rows, by person; NaT without rows."""
    return frame.groupby("person")[column].max().reindex(world.people["person"])


def _write_contacts(writer: Writer, world: World, rng: np.random.Generator, leads: pd.DataFrame) -> None:
    people = world.people
    first_deal = world.deals.groupby("person")["created_at"].min().reindex(people["person"]).reset_index(drop=True)
    deal_moved = world.deals.groupby("person")["created_at"].max().reindex(people["person"]).reset_index(drop=True)
    moved = pd.concat([people["created_at"], people["email_changed_at"], deal_moved], axis=1).max(axis=1)
    from_lead = leads[leads["status"] == "converted"].drop_duplicates("person").set_index("person")["lead"]
    own = people.assign(
        id=people["person"],
        moved_at=moved,
        lead=people["person"].map(from_lead),
        opened=first_deal,
    )[people["on_bitrix"]]
    second = world.cards[world.cards["merged_at"].isna()].merge(people.drop(columns="created_at"), on="person")
    second = second.assign(id=second["contact_id"], moved_at=second["created_at"], lead=None)
    cards = pd.concat([own, second], ignore_index=True)
    size = len(cards)
    birthdays = cards["birthday"].to_numpy("datetime64[D]")
    created: list[Any] = local(cards["created_at"]).astype(str).tolist()
    modified: list[Any] = local(cards["moved_at"]).astype(str).tolist()
    birthdates: list[Any] = [None if text == "NaT" else text for text in birthdays.astype(str).tolist()]
    created[5] = modified[9] = modified[17] = ZERO_DATETIME  # what an import of years ago left behind
    birthdates[12] = birthdates[30] = ZERO_DATE
    company = cards["company"].fillna(0).astype(np.int64).tolist()
    writer.write(
        "b_crm_contact",
        {
            "ID": cards["id"].to_numpy(np.int64),
            "DATE_CREATE": created,
            "DATE_MODIFY": modified,
            "CREATED_BY_ID": 1,
            "MODIFY_BY_ID": 1,
            "ASSIGNED_BY_ID": rng.integers(2, 2 + len(EMPLOYEES), size),
            "OPENED": "Y",
            "COMPANY_ID": [value or (0 if number % 2 else None) for number, value in enumerate(company)],
            "SOURCE_ID": rng.choice(["WEB", "CALL", "STORE", "OTHER"], size).astype(object),
            "NAME": cards["first_name"].tolist(),
            "LAST_NAME": cards["last_name"].tolist(),
            "FULL_NAME": (cards["first_name"] + " " + cards["last_name"]).tolist(),
            "LEAD_ID": cards["lead"].tolist(),
            "EXPORT": "Y",
            "TYPE_ID": "CLIENT",
            "ORIGINATOR_ID": ["" if number % 3 else None for number in range(size)],
            "BIRTHDATE": birthdates,
            "BIRTHDAY_SORT": [
                1024 if text in (None, ZERO_DATE) else pd.Timestamp(text).day_of_year - 1 for text in birthdates
            ],
            "HAS_PHONE": "Y",
            "HAS_EMAIL": [None if number % 40 == 0 else "Y" for number in range(size)],
            "LAST_ACTIVITY_TIME": local(cards["moved_at"]),
        },
    )
    with_fields = cards[rng.random(size) < 0.35]
    count = len(with_fields)
    levels = rng.integers(1, 4, count)
    sizes = rng.integers(70, 94, count).tolist()
    interests = rng.integers(0, 3, count).tolist()
    ids = with_fields["id"].astype(np.int64).tolist()
    writer.write(
        "b_uts_crm_contact",
        {
            "VALUE_ID": ids,
            "UF_CRM_LOYALTY_LEVEL": levels,
            "UF_CRM_SHOE_SIZE": [float(size) / 2 if size % 5 else None for size in sizes],
            "UF_CRM_INTERESTS": [php.serialize(INTERESTS[kind]) for kind in interests],
            "UF_CRM_LAST_VISIT": local(with_fields["moved_at"]),
            "UF_CRM_1690000000001": [None if number % 4 else "перезвонить вечером" for number in range(count)],
            **contact_values(ids, local(with_fields["created_at"])),
        },
    )
    write_contact_multiples(writer, ids, interests)


def _write_companies(writer: Writer, world: World) -> None:
    companies = world.companies
    at = np.repeat(local(pd.Series([world.started_at - pd.Timedelta(days=800)])), len(companies))
    writer.write(
        "b_crm_company",
        {
            "ID": companies["company"].to_numpy(),
            "DATE_CREATE": at,
            "DATE_MODIFY": at,
            "CREATED_BY_ID": 1,
            "ASSIGNED_BY_ID": 2,
            "TITLE": companies["title"].tolist(),
            "COMPANY_TYPE": "CUSTOMER",
            "CURRENCY_ID": "RUB",
            "HAS_PHONE": "Y",
            "HAS_EMAIL": "Y",
            "LAST_ACTIVITY_TIME": at,
        },
    )
    members = world.people[world.people["company"].notna() & world.people["on_bitrix"]]
    writer.write(
        "b_crm_contact_company",
        {
            "CONTACT_ID": members["person"].to_numpy(),
            "COMPANY_ID": members["company"].to_numpy(np.int64),
            "SORT": 10,
            "ROLE_ID": 0,
            "IS_PRIMARY": "Y",
        },
    )


def _write_leads(writer: Writer, leads: pd.DataFrame) -> None:
    created, closed = local(leads["created_at"]), local(leads["closed_at"])
    status = leads["status"].to_numpy(object)
    moved = np.fmax(created, closed)
    names = {"new": "NEW", "converted": "CONVERTED", "junk": "JUNK"}
    semantics = {"new": "P", "converted": "S", "junk": "F"}
    writer.write(
        "b_crm_lead",
        {
            "ID": leads["lead"].to_numpy(),
            "DATE_CREATE": created,
            "DATE_MODIFY": moved,
            "CREATED_BY_ID": 1,
            "MODIFY_BY_ID": 1,
            "ASSIGNED_BY_ID": 2 + leads["lead"].to_numpy() % len(EMPLOYEES),
            "COMPANY_ID": 0,
            "CONTACT_ID": [value or None for value in leads["contact"].tolist()],
            "STATUS_ID": [names[word] for word in status],
            "STATUS_SEMANTIC_ID": [semantics[word] for word in status],
            "OPPORTUNITY": Decimal("0.00"),
            "CURRENCY_ID": "RUB",
            "OPPORTUNITY_ACCOUNT": Decimal("0.00"),
            "ACCOUNT_CURRENCY_ID": "RUB",
            "SOURCE_ID": "WEBFORM",
            "TITLE": [f"Заявка с сайта № {number}" for number in leads["lead"].tolist()],
            "NAME": leads["first_name"].tolist(),
            "LAST_NAME": leads["last_name"].tolist(),
            "FULL_NAME": (leads["first_name"] + " " + leads["last_name"]).tolist(),
            "WEBFORM_ID": 1,
            "DATE_CLOSED": closed,
            "HAS_PHONE": "Y",
            "HAS_EMAIL": yes_no(leads["has_email"].to_numpy(bool)),
            "MOVED_BY_ID": 1,
            "MOVED_TIME": moved,
            "LAST_ACTIVITY_TIME": moved,
        },
    )
    known = leads[leads["contact"] > 0]
    writer.write(
        "b_crm_lead_contact",
        {
            "LEAD_ID": known["lead"].to_numpy(),
            "CONTACT_ID": known["contact"].to_numpy(),
            "SORT": 10,
            "ROLE_ID": 0,
            "IS_PRIMARY": "Y",
        },
    )


def _write_addresses(writer: Writer, world: World, rng: np.random.Generator, leads: pd.DataFrame) -> None:
    """`b_crm_field_multi` as typed, and the duplicate index with the normalised values."""
    people = world.people[world.people["on_bitrix"]]
    info = world.companies
    infos = dict(zip(info["company"].tolist(), zip(info["email"], info["phone"], strict=True), strict=True))
    rows: list[tuple[str, int, str, str, str]] = []
    draws = rng.random((len(people), 2)).tolist()
    columns = ("person", "email_as_typed", "former_email", "former_stays", "first_name", "phone", "company")
    for (luck, kind), (person, email, former, stays, _, phone, company) in zip(
        draws, zip(*(people[column] for column in columns), strict=True), strict=True
    ):
        if luck < SHARE_MAILING_TYPE:
            # The older address has the lower id, but letters go to the one of type MAILING.
            rows.append(("CONTACT", person, "EMAIL", "WORK", f"old-{person}@work.example"))
        mailing = "MAILING" if luck < SHARE_MAILING_TYPE else ("HOME" if kind < 0.35 else "WORK")
        rows.append(("CONTACT", person, "EMAIL", mailing, email))
        if stays:
            rows.append(("CONTACT", person, "EMAIL", "OTHER", former))
        if luck > 1 - SHARE_SECOND_ADDRESS:
            rows.append(("CONTACT", person, "EMAIL", "OTHER", f"Spare-{person}@spare.example"))
        if company is not pd.NA:
            rows.append(("CONTACT", person, "EMAIL", "OTHER", infos[company][0]))
            rows.append(("CONTACT", person, "PHONE", "WORK", infos[company][1]))
        rows.append(("CONTACT", person, "PHONE", "MOBILE", phone))
    second = world.cards[world.cards["merged_at"].isna()]
    rows += [
        ("CONTACT", card, "EMAIL", "WORK", email)
        for card, email in zip(second["contact_id"].tolist(), second["email_as_typed"], strict=True)
    ]
    for number, (email, phone) in infos.items():
        rows.append(("COMPANY", number, "EMAIL", "WORK", email))
        rows.append(("COMPANY", number, "PHONE", "WORK", phone))
    for lead, email, has_email, phone in zip(
        leads["lead"].tolist(), leads["email_as_typed"], leads["has_email"], leads["phone"], strict=True
    ):
        if has_email:
            rows.append(("LEAD", lead, "EMAIL", "WORK", email if lead % 4 else email.strip().lower()))
        rows.append(("LEAD", lead, "PHONE", "MOBILE", phone))
    entity, element, kinds, value_types, values = map(list, zip(*rows, strict=True))
    writer.write(
        "b_crm_field_multi",
        {
            "ID": np.arange(1, len(rows) + 1),
            "ENTITY_ID": entity,
            "ELEMENT_ID": element,
            "TYPE_ID": kinds,
            "VALUE_TYPE": value_types,
            "COMPLEX_ID": [f"{row[2]}_{row[3]}" for row in rows],
            "VALUE": values,
        },
    )
    phones = [(number, "RU") for number, row in enumerate(rows, start=1) if row[0] == "COMPANY" and row[2] == "PHONE"]
    writer.write("b_crm_field_multi_phone_country", by_column("FM_ID COUNTRY_CODE", phones))
    number_of = {"LEAD": LEAD, "CONTACT": CONTACT, "COMPANY": COMPANY}
    writer.write(
        "b_crm_dp_comm_mcd",
        {
            "ENTITY_TYPE_ID": [number_of[str(name)] for name in entity],
            "ENTITY_ID": element,
            "TYPE": kinds,
            "VALUE": [
                value.strip().lower() if kind == "EMAIL" else "".join(filter(str.isdigit, value))
                for _, _, kind, _, value in rows
            ],
        },
    )


def _tags(row: Mapping[Hashable, Any]) -> dict[str, str]:
    return {column: row[column] for column in UTM_COLUMNS if isinstance(row[column], str)}


def _write_tags(writer: Writer, world: World, leads: pd.DataFrame) -> None:
    """UTM tags of leads as the form wrote them, copied to the deal on conversion."""
    own = {lead: _tags(row) for lead, row in zip(leads["lead"].tolist(), leads.to_dict("records"), strict=True)}
    rows = [(LEAD, lead, name.upper(), value) for lead, tags in own.items() for name, value in tags.items()]
    from_lead = world.deals[world.deals["lead"].notna()]
    for deal, lead in zip(from_lead["deal"].tolist(), from_lead["lead"].tolist(), strict=True):
        rows += [(DEAL, deal, name.upper(), value) for name, value in own[lead].items()]
    entity_type, entity, code, value = map(list, zip(*rows, strict=True))
    writer.write("b_crm_utm", {"ENTITY_TYPE_ID": entity_type, "ENTITY_ID": entity, "CODE": code, "VALUE": value})


def _write_traces(writer: Writer, world: World, leads: pd.DataFrame, recipient_of_send: NDArray[np.int64]) -> None:
    """What the visitor script saw before the form: tags, and pages with `bx_sender_conversion_id` in the address."""
    landing = leads["landing_event"].fillna(0).to_numpy(np.int64)
    send = np.where(landing > 0, world.events["send"].to_numpy()[np.maximum(landing, 1) - 1], 0)
    urls = world.events["url"].to_numpy(object)[np.maximum(landing, 1) - 1]
    created = local(leads["created_at"])
    clicked_at = world.events["occurred_at"].iloc[np.maximum(landing, 1) - 1]
    rows: list[tuple[str, str]] = []
    for row, event, url, recipient, clicked in zip(
        leads.to_dict("records"), landing.tolist(), urls, recipient_of_send[send].tolist(), clicked_at, strict=True
    ):
        tags = _tags(row)
        query = dict(tags)
        if recipient:
            query["bx_sender_conversion_id"] = str(recipient)
        page = str(url) if event else f"{SITE}/catalog"
        glue = "&" if "?" in page else "?"
        # PHP's time(): seconds since 1970, whatever the site's zone
        made = int(row["created_at"].timestamp())
        landed = int(clicked.timestamp()) if event else made - 600
        pages = [
            {
                "URL": f"{quote(page, safe=':/?=&')}{glue}{urlencode(query)}" if query else page,
                "DATE_INSERT": landed,
            },
            {"URL": f"{SITE}/contacts", "DATE_INSERT": max(landed, made - 60)},
        ]
        rows.append((php.serialize({"ts": landed, "list": tags}), php.serialize(pages)))
    numbers = np.arange(1, len(rows) + 1)
    writer.write(
        "b_crm_tracking_trace",
        {
            "ID": numbers,
            "DATE_CREATE": created,
            "SOURCE_ID": 0,
            "TAGS_RAW": [row[0] for row in rows],
            "PAGES_RAW": [row[1] for row in rows],
            "IS_MOBILE": yes_no(numbers % 3 == 0),
        },
    )
    trace_of_lead = dict(zip(leads["lead"].tolist(), numbers.tolist(), strict=True))
    from_lead = world.deals[world.deals["lead"].notna()]
    links = [(trace, LEAD, lead) for lead, trace in trace_of_lead.items()]
    links += [
        (trace_of_lead[lead], DEAL, deal)
        for deal, lead in zip(from_lead["deal"].tolist(), from_lead["lead"].tolist(), strict=True)
    ]
    trace, entity_type, entity = map(list, zip(*links, strict=True))
    writer.write("b_crm_tracking_trace_entity", {"TRACE_ID": trace, "ENTITY_TYPE_ID": entity_type, "ENTITY_ID": entity})
    writer.write("b_crm_tracking_trace_channel", {"TRACE_ID": numbers, "CODE": "form", "VALUE": "1"})


def _write_recycle_bin(writer: Writer, world: World) -> None:
    """Cards that were merged away; nothing maps their ids to the winner's."""
    gone = (
        world.cards[world.cards["merged_at"].notna()]
        .merge(world.people[["person", "first_name", "last_name"]], on="person")
        .sort_values(["merged_at", "card"])
    )
    if gone.empty:
        return
    numbers = np.arange(1, len(gone) + 1)
    names = (gone["first_name"] + " " + gone["last_name"]).tolist()
    writer.write(
        "b_recyclebin",
        {
            "ID": numbers,
            "NAME": names,
            "SITE_ID": "s1",
            "ENTITY_ID": [str(card) for card in gone["contact_id"].tolist()],
            "MODULE_ID": "crm",
            "ENTITY_TYPE": "crm_contact",
            "TIMESTAMP": local(gone["merged_at"]),
            "USER_ID": 1,
        },
    )
    writer.write(
        "b_recyclebin_data",
        {
            "RECYCLEBIN_ID": numbers,
            "ACTION": "MAIN",
            "DATA": [
                php.serialize({"ID": card, "NAME": name})
                for card, name in zip(gone["contact_id"].tolist(), names, strict=True)
            ],
        },
    )
