"""How far a migration came, told from the schema: which of its statements ran, which did not, of which nobody knows.

Pure. A scratch server ran the up's statements one by one (`Prefix`: a statement and the schema after it); the live
schema is held against each of these. What changes no schema (UPDATE, INSERT) leaves no trace there: where such a
statement stands at the edge, it is unknown, and said so, never guessed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

from toolkit.rollback.changed_rows import AGAIN, CONTROL, left_by
from toolkit.rollback.inverse import Key, changes, inverse, objects_of
from toolkit.rollback.sql_lexer import Statement
from toolkit.verify.fingerprints import SchemaObject, SchemaSignature

_FOLLOWING = ("owner", "grant")  # told only where there is little else to tell


class Verdict(StrEnum):
    NOT = "not applied"
    FULLY = "fully applied"
    PARTLY = "partly applied"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Prefix:
    """One statement of the up, its text, and the schema that was there once it had run, all before it included."""

    statement: Statement
    text: str
    after: SchemaSignature

    @property
    def verb(self) -> str:
        """`CREATE INDEX`"""
        return " ".join(token.text.upper() for token in self.statement.tokens[:2] if token.is_name)


@dataclass(frozen=True)
class Extent:
    """Statements by their place, from 0: which ran, which may have run, which did not."""

    ran: tuple[int, ...]
    perhaps: tuple[int, ...]
    missing: tuple[int, ...]


@dataclass(frozen=True)
class Found:
    """What the schema tells. Objects are told in words; `finish` and `undo` are statements, to be run one by one.

    `between` are objects that are neither as before nor as after, an invalid index among them. `unknown` says what
    nobody can tell or bring back. `left_rows` are changes of rows that `undo` leaves as they are. `drift` differs from
    both versions and is not this migration's.
    """

    verdict: Verdict
    present: tuple[str, ...]
    absent: tuple[str, ...]
    between: tuple[str, ...]
    unknown: tuple[str, ...]
    finish: tuple[str, ...]
    undo: tuple[str, ...]
    drift: tuple[str, ...] = ()
    left_rows: tuple[str, ...] = ()
    extent: Extent | None = None


def find(before: SchemaSignature, prefixes: Sequence[Prefix], live: SchemaSignature, *, atomic: bool) -> Found:
    """Hold the live schema against the one before a migration and those after each of its statements.

    `atomic`: the file runs in one transaction, so that its data statements share its schema's fate.
    """
    states = [before, *(each.after for each in prefixes)]
    touched = _touched(states)
    invalid = _invalid(live, touched)
    clean = _without(live, invalid)
    extent = _extent(states, clean, touched, prefixes)
    whole = changes(before, states[-1])
    if atomic and whole and extent is not None:
        extent = _settled(extent, len(prefixes))
    verdict = _verdict(extent, len(prefixes), invalid, whole)
    present, absent, between = _told(whole, live, invalid, touched)
    finish, unfinished = _finish(extent, prefixes, invalid)
    undo, lost = _undo(extent, states, prefixes, invalid)
    drift = tuple(str(c.object) for key, c in changes(before, clean).items() if key not in touched)
    unknown = tuple(dict.fromkeys([*unfinished, *lost]))
    if verdict is Verdict.NOT and not unknown:
        undo = ()
    rows = _left_rows(extent, states, prefixes)
    return Found(verdict, present, absent, between, unknown, finish, undo, drift, rows, extent)


def _invalid(live: SchemaSignature, touched: set[Key]) -> dict[Key, SchemaObject]:
    """Indexes of this migration that a build or a drop without a transaction left behind half done."""
    found = {("index", each.name): each for each in live.of("index").objects if ("index", each.name) in touched}
    return {key: each for key, each in found.items() if {"invalid", "not ready"} & set(each.definition.split("; "))}


def _without(live: SchemaSignature, keys: Mapping[Key, object]) -> SchemaSignature:
    return replace(live, objects=tuple(each for each in live.objects if (each.kind, each.name) not in keys))


def _touched(states: Sequence[SchemaSignature]) -> set[Key]:
    """Every object that some statement of the migration changes."""
    return {key for before, after in pairwise(states) for key in changes(before, after)}


def _extent(
    states: Sequence[SchemaSignature], live: SchemaSignature, touched: set[Key], prefixes: Sequence[Prefix]
) -> Extent | None:
    """Where it stopped: the states that the live one is equal to, in what the migration touches. Otherwise statement by
    statement; None where that tells nothing either."""
    now = _states_of(live, touched)
    equal = [at for at, state in enumerate(states) if _states_of(state, touched) == now]
    if equal and touched:
        first, last, whole = min(equal), max(equal), len(prefixes)
        return Extent(tuple(range(first)), tuple(range(first, last)), tuple(range(last, whole)))
    return _by_statement(states, live) if touched else None


def _by_statement(states: Sequence[SchemaSignature], live: SchemaSignature) -> Extent | None:
    """Statements that ran in another order, or by hand: each is judged by the objects that it changes."""
    now = objects_of(live)
    seen = [objects_of(state) for state in states]
    ran, perhaps, missing = list[int](), list[int](), list[int]()
    for at, (before, after) in enumerate(pairwise(states)):
        judged = {_judged(key, at, seen, now) for key in changes(before, after)}
        (ran if judged == {True} else missing if judged == {False} else perhaps).append(at)
    return Extent(tuple(ran), tuple(perhaps), tuple(missing)) if ran or missing else None


def _judged(
    key: Key, at: int, seen: Sequence[Mapping[Key, SchemaObject]], now: Mapping[Key, SchemaObject]
) -> bool | None:
    """Whether an object is as it was before statement `at` (False) or as it is after it (True)."""
    current = _text(now.get(key))
    before = {_text(state.get(key)) for state in seen[: at + 1]}
    after = {_text(state.get(key)) for state in seen[at + 1 :]}
    if (current in before) == (current in after):
        return None
    return current in after


def _settled(extent: Extent, whole: int) -> Extent:
    """A file that runs in one transaction ran whole or not at all; data statements at the edge follow the schema."""
    if not extent.ran:
        return Extent((), (), tuple(range(whole)))
    return extent if extent.missing else Extent(tuple(range(whole)), (), ())


def _verdict(
    extent: Extent | None, whole: int, invalid: Mapping[Key, object], changed: Mapping[Key, object]
) -> Verdict:
    if extent is None or not changed:
        return Verdict.UNKNOWN
    if not extent.ran and not invalid and extent.missing:
        return Verdict.NOT
    if not extent.missing and not invalid and extent.ran:
        return Verdict.FULLY
    return Verdict.PARTLY


def _told(
    whole: Mapping[Key, object], live: SchemaSignature, invalid: Mapping[Key, SchemaObject], touched: set[Key]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """What is there as after the migration, what is still as before it, and what is neither."""
    now = objects_of(live)
    present, absent, between = list[str](), list[str](), list[str]()
    for key in sorted((touched & set(whole)) | set(invalid)):
        if key[0] in _FOLLOWING and len(whole) > len(_FOLLOWING):
            continue
        change = whole.get(key)
        before, after = (getattr(change, "before", None), getattr(change, "after", None)) if change else (None, None)
        current, words = _text(now.get(key)), f"{key[0]} {key[1]}"
        if key in invalid:
            between.append(f"{words} (invalid)")
        elif current == _text(after):
            present.append(words if after else f"{words} (gone)")
        elif current == _text(before):
            absent.append(words if before is None else f"{words} (as before)")
        else:
            between.append(f"{words} ({current or 'not there'})")
    return tuple(present), tuple(absent), tuple(between)


def _finish(
    extent: Extent | None, prefixes: Sequence[Prefix], invalid: Mapping[Key, SchemaObject]
) -> tuple[tuple[str, ...], list[str]]:
    if extent is None:
        return (), ["no statement of it leaves a trace in the schema, so nobody can tell which ran"]
    statements, unknown = [f"DROP INDEX IF EXISTS {each.name}" for each in invalid.values()], list[str]()
    if not (extent.missing or extent.perhaps):
        return tuple(statements), unknown
    for at, each in enumerate(prefixes):
        first = each.statement.tokens[0]
        if first.is_word("set", "reset"):
            statements.append(each.text)
        elif first.is_word(*CONTROL) or at in extent.ran:
            continue
        elif at in extent.missing or first.is_word(*AGAIN):
            statements.append(each.text)
        else:
            unknown.append(
                f"whether the {each.verb} in line {each.statement.line} ran: it changes rows, not the schema"
            )
            statements.append(_commented(each))
    return tuple(statements), unknown


def _commented(each: Prefix) -> str:
    lines = "\n".join(f"--   {line}" for line in each.text.splitlines())
    return f"-- Nobody can tell whether this ran. Look at the rows, then run it or leave it out:\n{lines}"


def _undo(
    extent: Extent | None,
    states: Sequence[SchemaSignature],
    prefixes: Sequence[Prefix],
    invalid: Mapping[Key, SchemaObject],
) -> tuple[tuple[str, ...], list[str]]:
    if extent is None:
        return (), []
    statements, lost = [f"DROP INDEX IF EXISTS {each.name}" for each in invalid.values()], list[str]()
    for at in sorted((*extent.ran, *extent.perhaps), reverse=True):
        back = inverse(states[at], states[at + 1])
        statements += back.statements
        lost += back.lost
        first = prefixes[at].statement.tokens[0]
        quiet = not changes(states[at], states[at + 1]) and not first.is_word(*AGAIN, *CONTROL)
        if quiet and at in extent.ran:
            lost.append(
                f"the {prefixes[at].verb} in line {prefixes[at].statement.line} ran: which rows it changed is not told"
            )
    return tuple(statements), lost


def _left_rows(extent: Extent | None, states: Sequence[SchemaSignature], prefixes: Sequence[Prefix]) -> tuple[str, ...]:
    """What statements that ran, or may have run, did to rows that were there before the migration."""
    found = []
    for at in sorted((*extent.ran, *extent.perhaps)) if extent else ():
        each = prefixes[at]
        maybe = "" if extent is not None and at in extent.ran else "may have "
        for said in left_by(each.statement, states[0], states[at], states[at + 1]):
            found.append(f"the {each.verb} in line {each.statement.line} {maybe}{said}")
    return tuple(found)


def _states_of(signature: SchemaSignature, keys: set[Key]) -> dict[Key, str]:
    return {key: each.definition for key, each in objects_of(signature).items() if key in keys}


def _text(each: SchemaObject | None) -> str | None:
    return None if each is None else each.definition
