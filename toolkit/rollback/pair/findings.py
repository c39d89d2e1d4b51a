"""What a trial found: one value for each query, request or column that says something about the pair. Values only.

Owns what may be told of it: verbs, names and the server's code; never a parameter, a constant or a row.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

from toolkit.rollback.pair.queries import single
from toolkit.rollback.sql_lexer import Statement, Token

Verdict = Literal["fits", "incompatible", "unknown"]
Source = Literal["recorded query", "real request", "catalog"]

# What names do not mean the same any more, or are gone: tables, columns, functions and operators, types, schemas,
# ON CONFLICT's index, generated columns, privileges.
UNDEFINED = ("42P01", "42703", "42883", "42704", "3F000", "42P10", "428C9", "42501")
INVALID_TEXT, NOT_PERMITTED, NO_FUNCTION = "22P02", "42501", "42883"
QUOTING_CLASSES = ("22",)  # these quote the value that was refused
SPOKEN_CLASSES = ("42", "23", "3F")  # these name objects only

# A copy may come without its grants, or with those of the time when writes were frozen: no evidence of the real schema.
NO_GRANTS = ("XX000", "the copy came without its grants, so privileges are not known")
NO_WRITES = ("XX000", "the copy's role may write nowhere, as while writes are frozen, so privileges are not known")

_INTO = {"insert": ("into",), "update": (), "delete": ("from",), "merge": ("into",), "select": ("from",)}
_NO_TABLE = ("only", "lateral", "select", "unnest")


@dataclass(frozen=True)
class PairFinding:
    """`what` was tried, `says` what came of it, `sqlstate` the server's code where it refused. `kind`: its verb
    and table. `by`: of a catalog's difference, the kinds of queries that it concerns."""

    source: Source
    verdict: Verdict
    what: str
    says: str
    sqlstate: str | None = None
    by: tuple[str, ...] = ()
    kind: str = ""

    def __str__(self) -> str:
        return f"{self.source.capitalize()} {self.what}: {self.says}"


def refusal_of(error: Any) -> str:
    """What may be told of a server's refusal: its primary message where that names objects only, and its code."""
    code, said = error.sqlstate, error.diag.message_primary or "it was refused"
    if code is None:
        return "the server did not answer"
    if code[:2] in QUOTING_CLASSES:
        said = re.sub(r'"[^"]*"', "…", said)
    elif code[:2] not in SPOKEN_CLASSES:
        said = type(error).__name__
    return f"{said} ({code})"


def named(text: str) -> str:
    """A statement by its verb and table, such as `INSERT INTO events`; `a statement` where it is none on data."""
    statement = single(text)
    if statement is None:
        return "a statement"
    if done := actions(statement):
        return f"{' '.join([done[0][0], *_INTO[done[0][0]]]).upper()} {done[0][1]}"
    return f"{statement.tokens[0].text.upper()} without a table"


def actions(statement: Statement) -> list[tuple[str, str]]:
    """What it does to which table: the verbs that change, those in a WITH too; where there are none, its SELECT."""
    places = [i for i, t in enumerate(statement.tokens) if t.is_word(*_INTO)]
    changing = [i for i in places if not statement.tokens[i].is_word("select") and _acts(statement.tokens, i)]
    chosen = changing or places
    found = [(statement.tokens[i].text, _table_after(statement.tokens, i)) for i in chosen]
    return [(verb, table) for verb, table in found if table is not None]


def _acts(tokens: tuple[Token, ...], at: int) -> bool:
    """Whether this verb begins a statement or a part of WITH, unlike FOR UPDATE and ON CONFLICT DO UPDATE."""
    return at == 0 or tokens[at - 1].text in ("(", ")")


def _table_after(tokens: tuple[Token, ...], at: int) -> str | None:
    """The table that a verb acts on, with its schema where it is said."""
    words = _INTO[tokens[at].text]
    start = at + 1
    if words:
        start = next((i + 1 for i in range(at, len(tokens)) if tokens[i].is_word(*words)), len(tokens))
    while start < len(tokens) and tokens[start].is_word(*_NO_TABLE):
        start += 1
    name = tokens[start : start + 3]
    if not name or not name[0].is_name:
        return None
    if len(name) == 3 and name[1].text == "." and name[2].is_name:
        return f"{name[0].text}.{name[2].text}"
    return name[0].text
