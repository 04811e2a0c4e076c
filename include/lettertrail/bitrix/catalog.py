"""Which Bitrix tables are copied and how each is kept fresh, read from the dbt source file.

The dbt source entry *is* the extraction entry: a table appears in the warehouse because it is declared in
`dbt_project/models/staging/bitrix/_bitrix__sources.yml` with a `config.meta.extract` block. What the block may
hold is described by `TableEntry` and `Trigger`; anything else in it is refused, so that a misspelt word is not a
table that quietly goes stale.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

import yaml

from lettertrail.errors import ConfigurationError
from lettertrail.settings import BITRIX_SOURCES_FILE

Strategy = Literal["full", "append", "modified", "touched_by"]
STRATEGIES: tuple[str, ...] = get_args(Strategy)

DEFAULT_TAIL = 1000
"""Ids read again below the watermark: transactions commit out of id order (bitrix.md 5)."""
DEFAULT_OVERLAP_MINUTES = 120
"""Times read again below the watermark: more than the hour that the autumn clock change repeats (bitrix.md 5)."""

NEVER_EXTRACTED = frozenset(
    {
        "password", "passwd", "checkword", "stored_hash", "confirm_code", "security_code", "secret",
        "access_token", "refresh_token", "application_token", "api_key", "private_key", "otp_secret", "digest_ha1",
    }
)  # fmt: skip
"""Column names that stay in the source whatever the catalogue says (bitrix.md 5, "Secrets and personal data")."""

_SECRET = re.compile(
    r"passw|passphrase|pwd|(^|_)pass(_|$)|parol|check_?word|token|secret(?!ar)|hash(?!tag)|credential|"
    r"(^|_)(otp|pin|salt|cvv|cvc|sess(ion)?_?id|session_?key)(_|$)|card_?num|"
    r"(confirm|confirmation|security|verify|verification|activation|reset|recovery|sms|auth|access|login)_?(code|key|word)|"
    r"(api|private|secret|access|encryption|license)_?key"
)
"""What a secret is called that nobody has put on a list: a custom field, a column of a newer version or of a module."""

_SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The file is read in every task; libyaml is ten times as quick."""
_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,62}")
_WORD = re.compile(r"[A-Za-z0-9_]{1,32}")

CONTENT_KEY = ("_row_hash",)
"""The key of a table that has none: a row is its content, as the source hashes it."""
CURSOR_CONDITIONS = frozenset({"moves_by_itself", "indexed"})
DEFAULT_AREA = "others"
MAX_QUARANTINED_PCT = 1.0


@dataclass(frozen=True, slots=True)
class Via:
    """A table between a trigger and this one: `trigger.column = via.column` and `via.gives = this.matches`."""

    table: str
    column: str
    gives: str


@dataclass(frozen=True, slots=True)
class Trigger:
    """Rows of another table that make rows of this one worth reading again: `other.column = this.matches`.

    With `via` there is one table in between. The other table may be this one itself, which is how a second change time
    is declared; then a row touches itself alone. At least one of `new_by` (rows of the other table with a higher key),
    `modified_by` (with a later change time), `open_while` (whose column holds one of the words) and `young_days` with
    `young_by` is set; a row of the other table counts when any of them holds.
    """

    table: str
    column: str
    matches: str
    where: Mapping[str, str] = field(default_factory=dict)
    """Restricts *this* table: column -> word. `{entity_id: CONTACT}` for shared tables."""
    new_by: str | None = None
    tail: int = DEFAULT_TAIL
    modified_by: str | None = None
    overlap_minutes: int = DEFAULT_OVERLAP_MINUTES
    open_while: Mapping[str, Sequence[str]] = field(default_factory=dict)
    young_by: str | None = None
    young_days: int | None = None
    via: Via | None = None

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables it needs."""
        return (self.table,) if self.via is None else (self.table, self.via.table)


@dataclass(frozen=True, slots=True)
class TableEntry:
    """One table: `name` in the source and in raw_bitrix, and how it is kept fresh.

    All column names are lower case, as they are in raw_bitrix; MySQL does not care.
    """

    name: str
    description: str
    strategy: Strategy
    key: tuple[str, ...]
    why: str
    tail: int | None = None
    """Read ids above the watermark minus this; None when the table has no growing id."""
    cursor: str | None = None
    """The change-time column; for `touched_by` optional, used when the source has it."""
    cursor_if: frozenset[str] = frozenset()
    """What the source's column must be for the cursor to be followed: `moves_by_itself`, `indexed`."""
    overlap_minutes: int = DEFAULT_OVERLAP_MINUTES
    range_by: str | None = None
    """The whole-number column that cuts the table into key ranges; None: it is always read in one piece."""
    touched_by: tuple[Trigger, ...] = ()
    exclude: frozenset[str] = frozenset()
    """Columns not worth copying; the reason is in the description."""
    deny: frozenset[str] = NEVER_EXTRACTED
    php: tuple[str, ...] = ()
    """PHP-serialised columns: parsed into `<column>__json` beside the untouched text."""
    area: str = DEFAULT_AREA
    """The part of the catalogue that is copied together, one table after the other."""
    max_quarantined_pct: float = MAX_QUARANTINED_PCT
    """A load with a larger share of rows that cannot be read or stored fails."""

    def extracts(self, column: str) -> bool:
        """Whether the column, in whatever letter case, is copied: not excluded, not denied, no secret by its name."""
        name = column.lower()
        return name not in self.exclude and name not in self.deny and not is_secret(name)


def is_secret(column: str) -> bool:
    """Whether a column's name says that it holds a password, check word, token or code; it is never copied then."""
    name = column.lower()
    return name in NEVER_EXTRACTED or _SECRET.search(name) is not None


def load_catalog(path: Path = BITRIX_SOURCES_FILE) -> list[TableEntry]:
    """The tables of source `bitrix`, in file order.

    Raises:
        ConfigurationError: when the file is missing or an entry is incomplete, naming the entry and the field.
    """
    sources = [source for source in _document(path).get("sources", []) if source.get("name") == "bitrix"]
    if len(sources) != 1:
        raise ConfigurationError(f"{path.name} must declare exactly one source named bitrix")
    source_meta = (sources[0].get("config") or {}).get("meta") or {}
    denied = _identifiers("source bitrix", "deny_columns", source_meta.get("deny_columns", []))
    entries = [_entry(table, deny=NEVER_EXTRACTED | set(denied)) for table in sources[0].get("tables", [])]
    if not entries:
        raise ConfigurationError(f"{path.name}: source bitrix has no tables")
    names = [entry.name for entry in entries]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"table {name} is declared twice")
    return entries


def left_out(path: Path = BITRIX_SOURCES_FILE) -> dict[str, str]:
    """Tables of the reference that are not copied -> why; they stand in the same file, where dbt does not look."""
    listed = (_document(path).get("anchors") or {}).get("left_out") or {}
    return {str(table): str(reason) for table, reason in listed.items()}


def _document(path: Path) -> dict[str, Any]:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_SafeLoader) or {}  # noqa: S506 - both are safe
    except FileNotFoundError:
        raise ConfigurationError(f"the Bitrix catalogue {path.name} does not exist") from None
    except yaml.YAMLError as error:
        raise ConfigurationError(f"the Bitrix catalogue {path.name} is no valid YAML: {error}") from None


def _entry(table: Mapping[str, Any], *, deny: frozenset[str]) -> TableEntry:
    name = _identifier("a table", "name", table.get("name"))
    description = str(table.get("description") or "").strip()
    if not description:
        raise ConfigurationError(f"table {name}: description is missing; say what one row is")
    extract = ((table.get("config") or {}).get("meta") or {}).get("extract")
    if not isinstance(extract, Mapping):
        raise ConfigurationError(f"table {name}: config.meta.extract is missing")
    allowed = {
        "strategy", "key", "why", "tail", "cursor", "overlap_minutes", "range_by", "touched_by", "exclude",
        "php", "area", "max_quarantined_pct", "cursor_if",
    }  # fmt: skip
    _refuse_unknown(f"table {name}", extract, allowed)
    strategy = extract.get("strategy")
    if strategy not in STRATEGIES:
        raise ConfigurationError(f"table {name}: strategy is {strategy!r}; say one of {', '.join(STRATEGIES)}")
    if not extract.get("why"):
        raise ConfigurationError(f"table {name}: why is missing; say why this strategy is right for it")
    key = extract.get("key", [])
    key = CONTENT_KEY if key == [*CONTENT_KEY] else _identifiers(f"table {name}", "key", key)
    if not key:
        raise ConfigurationError(f"table {name}: key is missing")
    where = f"table {name}"
    entry = TableEntry(
        name=name,
        description=description,
        strategy=cast(Strategy, strategy),
        key=key,
        why=str(extract["why"]),
        tail=_whole(where, "tail", extract.get("tail", DEFAULT_TAIL if strategy == "append" else None)),
        cursor=_optional_identifier(where, "cursor", extract.get("cursor")),
        cursor_if=frozenset(_identifiers(where, "cursor_if", extract.get("cursor_if", []))),
        overlap_minutes=_whole(where, "overlap_minutes", extract.get("overlap_minutes")) or DEFAULT_OVERLAP_MINUTES,
        range_by=_optional_identifier(where, "range_by", extract.get("range_by", _only_id(key))),
        touched_by=tuple(_trigger(name, trigger) for trigger in extract.get("touched_by", [])),
        exclude=frozenset(_identifiers(where, "exclude", extract.get("exclude", []))),
        deny=deny,
        php=_identifiers(where, "php", extract.get("php", [])),
        area=_identifier(where, "area", extract.get("area", DEFAULT_AREA)),
        max_quarantined_pct=_percent(where, "max_quarantined_pct", extract.get("max_quarantined_pct")),
    )
    _check_strategy(entry)
    return entry


def _check_strategy(entry: TableEntry) -> None:
    where = f"table {entry.name}: strategy {entry.strategy}"
    if entry.strategy == "append" and len(entry.key) != 1:
        raise ConfigurationError(f"{where} follows one growing id; key has {len(entry.key)} columns")
    if entry.strategy == "modified" and entry.cursor is None:
        raise ConfigurationError(f"{where} needs cursor, the column with the change time")
    if entry.cursor_if and (entry.cursor is None or entry.strategy != "touched_by"):
        raise ConfigurationError(f"{where}: cursor_if needs a cursor, and the rules of touched_by to fall back on")
    if entry.cursor_if - CURSOR_CONDITIONS:
        raise ConfigurationError(f"{where}: cursor_if is one of {', '.join(sorted(CURSOR_CONDITIONS))}")
    if entry.key == CONTENT_KEY and entry.strategy != "full":
        raise ConfigurationError(f"{where}: a table without a key is read whole")
    if set(entry.php) - {column for column in entry.php if entry.extracts(column)}:
        raise ConfigurationError(f"{where}: php names a column that is not copied")
    if (entry.strategy == "touched_by") != bool(entry.touched_by):
        raise ConfigurationError(f"{where} and the list touched_by go together")
    if entry.tail is not None and len(entry.key) != 1:
        raise ConfigurationError(f"{where}: tail needs a key of one growing id")
    if entry.exclude & set(entry.key):
        raise ConfigurationError(f"{where}: a key column cannot be excluded")
    if entry.strategy != "full" and entry.range_by is None:
        raise ConfigurationError(f"{where} needs range_by, or deletes could not be noticed cheaply")


def _trigger(table: str, raw: object) -> Trigger:
    where = f"table {table}: touched_by"
    if not isinstance(raw, Mapping):
        raise ConfigurationError(f"{where} must be a list of mappings")
    allowed = {
        "table", "column", "matches", "where", "new_by", "tail", "modified_by", "overlap_minutes", "open_while",
        "young_by", "young_days", "via",
    }  # fmt: skip
    _refuse_unknown(where, raw, allowed)
    open_while = {
        _identifier(where, "open_while", column): tuple(_word(where, "open_while", word) for word in words)
        for column, words in raw.get("open_while", {}).items()
    }
    trigger = Trigger(
        table=_identifier(where, "table", raw.get("table")),
        column=_identifier(where, "column", raw.get("column")),
        matches=_identifier(where, "matches", raw.get("matches")),
        where={
            _identifier(where, "where", column): _word(where, "where", word)
            for column, word in raw.get("where", {}).items()
        },
        new_by=_optional_identifier(where, "new_by", raw.get("new_by")),
        tail=_whole(where, "tail", raw.get("tail", DEFAULT_TAIL)) or 0,
        modified_by=_optional_identifier(where, "modified_by", raw.get("modified_by")),
        overlap_minutes=_whole(where, "overlap_minutes", raw.get("overlap_minutes")) or DEFAULT_OVERLAP_MINUTES,
        open_while=open_while,
        young_by=_optional_identifier(where, "young_by", raw.get("young_by")),
        young_days=_whole(where, "young_days", raw.get("young_days")),
        via=_via(f"{where}: via", raw.get("via")),
    )
    if (trigger.young_by is None) != (trigger.young_days is None):
        raise ConfigurationError(f"{where}: young_by and young_days go together")
    if not (trigger.new_by or trigger.modified_by or trigger.open_while or trigger.young_by):
        raise ConfigurationError(f"{where}: say new_by, modified_by, open_while or young_by")
    return trigger


def _via(where: str, raw: object) -> Via | None:
    if raw is None:
        return None
    if not isinstance(raw, Mapping):
        raise ConfigurationError(f"{where} must be a mapping")
    _refuse_unknown(where, raw, {"table", "column", "gives"})
    return Via(*(_identifier(where, setting, raw.get(setting)) for setting in ("table", "column", "gives")))


def _only_id(key: Sequence[str]) -> str | None:
    """A single key called id or ending in _id is a whole number in every Bitrix table (bitrix_columns.csv)."""
    return key[0] if len(key) == 1 and (key[0] == "id" or key[0].endswith("_id")) else None


def _refuse_unknown(where: str, mapping: Mapping[str, Any], allowed: Iterable[str]) -> None:
    unknown = sorted(set(mapping) - set(allowed))
    if unknown:
        raise ConfigurationError(f"{where}: unknown extract setting {', '.join(map(str, unknown))}")


def _identifier(where: str, setting: str, value: object) -> str:
    if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
        raise ConfigurationError(f"{where}: {setting} is {value!r}; say a lower-case table or column name")
    return value


def _optional_identifier(where: str, setting: str, value: object) -> str | None:
    return None if value is None else _identifier(where, setting, value)


def _identifiers(where: str, setting: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ConfigurationError(f"{where}: {setting} must be a list")
    return tuple(_identifier(where, setting, item) for item in value)


def _word(where: str, setting: str, value: object) -> str:
    # YAML reads a bare N or Y as a boolean, which would silently match nothing.
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise ConfigurationError(f"{where}: {setting} holds {value!r}; say a short word, in quotes")
    return value


def _whole(where: str, setting: str, value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigurationError(f"{where}: {setting} is {value!r}; say a whole number")
    return value


def _percent(where: str, setting: str, value: object) -> float:
    if value is None:
        return MAX_QUARANTINED_PCT
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 100:
        raise ConfigurationError(f"{where}: {setting} is {value!r}; say a percentage")
    return float(value)
