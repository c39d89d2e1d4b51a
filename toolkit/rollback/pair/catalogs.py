"""Two catalogs compared with a deployment's eyes: the schema for which it was built, and the one that will be there.

This finds what neither preparing nor replaying a sample does: numbers and texts that fit no longer because a column
became narrower. Only what the deployment's queries name is told.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from toolkit.rollback.pair.findings import PairFinding, Verdict, actions, named
from toolkit.rollback.pair.queries import single
from toolkit.verify.fingerprints import SchemaObject, SchemaSignature

_TYPE_ENDS = re.compile(r"\s(?:COLLATE|NOT NULL|GENERATED|STORED|VIRTUAL|DEFAULT)\b")
_SIZED = re.compile(r"(character varying|character|numeric|bit varying|bit)\((\d+)(?:,(-?\d+))?\)")
_WIDTHS = {"smallint": 2, "integer": 4, "bigint": 8, "real": 4, "double precision": 8}
_UNSIZED = {"text": "character varying", "character varying": "character varying", "numeric": "numeric"}


@dataclass(frozen=True)
class Mention:
    """One query by its verb and table, every name in it, and the tables that it gives values to (without schemas)."""

    what: str
    names: frozenset[str]
    writes_to: frozenset[str]
    inserts_into: frozenset[str]


def mentions_of(texts: Iterable[str]) -> list[Mention]:
    """The names in these statements. What is no statement on data is left out."""
    found = []
    for text in dict.fromkeys(texts):
        if (statement := single(text)) is not None:
            done = [(verb, table.rpartition(".")[2]) for verb, table in actions(statement)]
            giving = frozenset(table for verb, table in done if verb in ("insert", "update", "merge"))
            inserting = frozenset(table for verb, table in done if verb in ("insert", "merge"))
            names = frozenset(t.text for t in statement.tokens if t.is_name)
            found.append(Mention(named(text), names, giving, inserting))
    return found


def compared(built_for: SchemaSignature, there: SchemaSignature, texts: Iterable[str]) -> list[PairFinding]:
    """What of the difference concerns these queries. [] where nothing does.

    `built_for` and `there` must be of one major version; of different ones nothing can be told, and one finding says
    that.
    """
    if built_for.server != there.server:
        said = f"PostgreSQL {built_for.server} and {there.server} cannot be compared"
        return [PairFinding("catalog", "unknown", "as a whole", said)]
    mentions = mentions_of(texts)
    old, new = _by_name(built_for), _by_name(there)
    found = [*_gone(old, new, mentions), *_columns(old, new, mentions), *_labels(old, new, mentions)]
    return [*found, *_demands(old, new, mentions)]


_Objects = dict[tuple[str, str], SchemaObject]


def _by_name(signature: SchemaSignature) -> _Objects:
    return {(each.kind, each.name): each for each in signature.objects}


def _gone(old: _Objects, new: _Objects, mentions: list[Mention]) -> Iterator[PairFinding]:
    """Tables, views, columns, functions and enums that queries name."""
    kinds = ("table", "view", "materialised view", "column", "function", "enum", "sequence")
    tables = {name for kind, name in new if kind in kinds[:3]}
    for (kind, name), was in old.items():
        if kind not in kinds or (kind, name) in new or (kind == "column" and was.table not in tables):
            continue
        if by := _naming(was, mentions):
            yield _finding("incompatible", was, "is gone", by)


def _columns(old: _Objects, new: _Objects, mentions: list[Mention]) -> Iterator[PairFinding]:
    """Columns that are narrower than before, or of another type."""
    for (kind, name), was in old.items():
        now = new.get((kind, name))
        if kind != "column" or now is None or type_of(was) == type_of(now):
            continue
        by = _naming(was, mentions)
        narrower = narrows(type_of(was), type_of(now))
        if by and (narrower or not narrows(type_of(now), type_of(was))):
            change = "is narrower" if narrower else "has another type"
            verdict: Verdict = (
                "incompatible" if narrower and any(_bare(was.table) in each.writes_to for each in by) else "unknown"
            )
            yield _finding(verdict, was, f"{change}: {type_of(was)} became {type_of(now)}", by)


def _labels(old: _Objects, new: _Objects, mentions: list[Mention]) -> Iterator[PairFinding]:
    """Enums that have lost labels, by the columns of their type."""
    for (kind, name), was in old.items():
        now = new.get((kind, name))
        lost = [] if kind != "enum" or now is None else [x for x in _split(was) if x not in _split(now)]
        bare = {name, name.rpartition(".")[2]}
        users = [o for (k, _), o in new.items() if k == "column" and type_of(o).removesuffix("[]") in bare]
        by = [m for m in mentions if any(_bare(each.table) in m.writes_to and _names(m, each) for each in users)]
        if lost and by:
            yield _finding("incompatible", was, f"lost the label {', '.join(lost)}", by)


def _demands(old: _Objects, new: _Objects, mentions: list[Mention]) -> Iterator[PairFinding]:
    """What is asked of rows now and was not: values without a default, checks. A trigger may supply what is missing."""
    for (kind, name), now in new.items():
        was, table = old.get((kind, name)), _bare(now.table)
        if kind == "column" and _must_be_given(now) and (was is None or not _must_be_given(was)):
            column = name.rpartition(".")[2].strip('"')
            by = [m for m in mentions if table in m.inserts_into and column not in m.names]
            verdict: Verdict = "unknown" if _has_trigger(new, now.table) else "incompatible"
            if by:
                yield _finding(verdict, now, "must be given and was not asked for before", by)
        if kind == "constraint" and now.definition.startswith(("CHECK", "EXCLUDE")) and was is None:
            by = [m for m in mentions if table in m.writes_to]
            if by:
                yield _finding("unknown", now, "is new, and whether all that is written meets it is not known", by)


def narrows(was: str, now: str) -> bool:
    """Whether a type holds less than another did: integer to smallint, numeric(12,2) to numeric(6,2), text to
    varchar(20), a column of an array likewise."""
    if was.endswith("[]") and now.endswith("[]"):
        return narrows(was[:-2], now[:-2])
    if was in _WIDTHS and now in _WIDTHS:
        return _WIDTHS[now] < _WIDTHS[was]
    if was in ("bigint", "numeric") and now in _WIDTHS:
        return True
    before, after = _SIZED.fullmatch(was), _SIZED.fullmatch(now)
    if after is None:
        return False
    if before is None:
        return _UNSIZED.get(was) == after[1] or (was in _WIDTHS and after[1] == "numeric")
    if before[1] != after[1]:
        return int(after[2]) < int(before[2])
    scales = int(before[3] or 0), int(after[3] or 0)
    return int(after[2]) - scales[1] < int(before[2]) - scales[0] or scales[1] < scales[0]


def _finding(verdict: Verdict, about: SchemaObject, says: str, by: list[Mention]) -> PairFinding:
    users = tuple(dict.fromkeys(each.what for each in by))
    more = f" and {len(users) - 3} more" if len(users) > 3 else ""
    return PairFinding("catalog", verdict, str(about), f"{says}; concerns {', '.join(users[:3])}{more}", by=users)


def _naming(about: SchemaObject, mentions: list[Mention]) -> list[Mention]:
    return [each for each in mentions if _names(each, about)]


def _names(mention: Mention, about: SchemaObject) -> bool:
    """Whether a query has this object's name in it, a column's with its table's."""
    name = about.name.partition("(")[0].rpartition(".")[2].strip('"')
    return name in mention.names and (about.kind != "column" or _bare(about.table) in mention.names)


def _bare(table: str | None) -> str:
    return (table or "").rpartition(".")[2].strip('"')


def type_of(column: SchemaObject) -> str:
    """A column's type, without what else its definition says."""
    found = _TYPE_ENDS.search(column.definition)
    return column.definition[: found.start()] if found else column.definition


def _must_be_given(column: SchemaObject) -> bool:
    words = column.definition
    return "NOT NULL" in words and not any(word in words for word in ("DEFAULT", "GENERATED", "STORED", "VIRTUAL"))


def _has_trigger(objects: _Objects, table: str | None) -> bool:
    return any(k == "trigger" and o.table == table and "BEFORE" in o.definition for (k, _), o in objects.items())


def _split(enum: SchemaObject) -> list[str]:
    return enum.definition.split(", ")
