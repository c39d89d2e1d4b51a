"""Whether a statement that runs in no transaction has run: asked from the catalog, since nothing else can tell.

Such a statement may have been cut off half-way and have left something (an invalid index): then what it left is told,
with what clears it away. It reads; it changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from toolkit.adapters.postgres import Connection, sql
from toolkit.rollback.sql_lexer import Statement, Token


class Standing(StrEnum):
    DONE = "done"
    NOT_DONE = "not done"
    HALF = "half done"
    REPEATABLE = "may be repeated"
    UNKNOWN = "cannot be told"


@dataclass(frozen=True)
class Outcome:
    """How it stands, in words too. `clear` takes away what half of it left, before it is run again."""

    standing: Standing
    evidence: str
    clear: sql.Composed | None = None


def outcome_of(conn: Connection, statement: Statement) -> Outcome:
    """How a statement stands. Names are found as the statement would find them, under this session's search_path."""
    words = list(statement.tokens)
    if statement.begins("create") and _index_at(words) is not None:
        return _created_index(conn, words)
    if statement.begins("drop", "index"):
        return _dropped_index(conn, words)
    if statement.begins("alter", "type"):
        return _added_label(conn, words)
    if statement.begins("alter", "table") and any(token.is_word("detach") for token in words):
        return _detached(conn, words)
    if words[0].is_word("vacuum", "analyze", "cluster", "reindex", "refresh") or statement.begins("alter", "system"):
        return Outcome(Standing.REPEATABLE, "running it again does no harm")
    return Outcome(Standing.UNKNOWN, "the catalog does not tell whether it ran")


def _index_at(words: Sequence[Token]) -> int | None:
    """The place of INDEX in a CREATE [UNIQUE] INDEX."""
    return next((at for at, token in enumerate(words[:3]) if token.is_word("index")), None)


def _after(words: Sequence[Token], at: int, *skipped: str) -> int:
    while at < len(words) and words[at].is_word(*skipped):
        at += 1
    return at


def _name(words: Sequence[Token], at: int) -> tuple[list[str], int]:
    name: list[str] = []
    while at < len(words) and words[at].is_name:
        name.append(words[at].text)
        at += 1
        if at >= len(words) or words[at].text != "." or words[at].is_name:
            break
        at += 1
    return name, at


def _created_index(conn: Connection, words: Sequence[Token]) -> Outcome:
    at = _after(words, (_index_at(words) or 0) + 1, "concurrently", "if", "not", "exists")
    name, at = _name(words, at) if not words[at].is_word("on") else ([], at)
    on = next((place for place in range(at, len(words)) if words[place].is_word("on")), None)
    table = _name(words, _after(words, on + 1, "only"))[0] if on is not None else []
    if not name or not table:
        return Outcome(Standing.UNKNOWN, "the index has no name of its own")
    quoted = _quoted(conn, table)
    row = conn.execute(
        """
        SELECT index_space.nspname::text, indisvalid AND indisready
        FROM pg_class t
        JOIN pg_index ON indrelid = t.oid
        JOIN pg_class i ON i.oid = indexrelid
        JOIN pg_namespace index_space ON index_space.oid = i.relnamespace
        WHERE t.oid = to_regclass(%(table)s) AND i.relname = %(name)s
        """,
        {"table": quoted, "name": name[-1]},
    ).fetchone()
    if row is None:
        return Outcome(Standing.NOT_DONE, f"there is no index {name[-1]}")
    if row[1]:
        return Outcome(Standing.DONE, f"the index {name[-1]} is there and valid")
    clear = sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.Identifier(row[0], name[-1]))
    return Outcome(Standing.HALF, f"the index {name[-1]} is there and invalid", clear)


def _dropped_index(conn: Connection, words: Sequence[Token]) -> Outcome:
    at = _after(words, 2, "concurrently", "if", "exists")
    left, said = [], []
    while True:
        name, at = _name(words, at)
        if not name:
            break
        said.append(".".join(name))
        if conn.execute("SELECT to_regclass(%(name)s)", {"name": _quoted(conn, name)}).fetchone() != (None,):
            left.append(".".join(name))
        if at >= len(words) or words[at].text != ",":
            break
        at += 1
    if left:
        return Outcome(Standing.NOT_DONE, f"the index {', '.join(left)} is there")
    return Outcome(Standing.DONE, f"the index {', '.join(said)} is gone")


def _added_label(conn: Connection, words: Sequence[Token]) -> Outcome:
    name, at = _name(words, 2)
    at = _after(words, at, "add", "value", "if", "not", "exists")
    if at >= len(words) or not name:
        return Outcome(Standing.UNKNOWN, "the catalog does not tell whether it ran")
    row = conn.execute(
        """
        SELECT EXISTS (SELECT FROM pg_enum WHERE enumtypid = to_regtype(%(type)s) AND enumlabel = %(label)s)
        """,
        {"type": _quoted(conn, name), "label": words[at].text},
    ).fetchone()
    if row == (True,):
        return Outcome(Standing.DONE, f"{name[-1]} has the label")
    return Outcome(Standing.NOT_DONE, f"{name[-1]} has no such label")


def _detached(conn: Connection, words: Sequence[Token]) -> Outcome:
    parent, _ = _name(words, _after(words, 2, "if", "exists", "only"))
    at = next(place for place, token in enumerate(words) if token.is_word("detach"))
    part, _ = _name(words, _after(words, at, "detach", "partition"))
    row = conn.execute(
        """
        SELECT inhdetachpending
        FROM pg_inherits
        WHERE inhrelid = to_regclass(%(part)s) AND inhparent = to_regclass(%(parent)s)
        """,
        {"part": _quoted(conn, part), "parent": _quoted(conn, parent)},
    ).fetchone()
    if row is None:
        return Outcome(Standing.DONE, f"{part[-1]} is no partition of {parent[-1]}")
    if not row[0]:
        return Outcome(Standing.NOT_DONE, f"{part[-1]} is a partition of {parent[-1]}")
    finish = sql.SQL("ALTER TABLE {} DETACH PARTITION {} FINALIZE").format(
        sql.Identifier(*parent), sql.Identifier(*part)
    )
    return Outcome(Standing.HALF, f"{part[-1]} is half detached", finish)


def _quoted(conn: Connection, name: Sequence[str]) -> str:
    return sql.Identifier(*name).as_string(conn)
