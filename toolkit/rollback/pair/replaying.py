"""Real requests, replayed with their recorded parameters on a copy, in transactions that are rolled back.

This finds what preparing cannot: a NOT NULL, a CHECK, a missing default, an enum label that a parameter wants. What a
copy cannot know is no evidence: a row that exists already, or one that the copy has not got yet.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from toolkit.adapters.postgres import Connection, Database, sql
from toolkit.rollback.pair.findings import (
    NO_GRANTS,
    NO_WRITES,
    NOT_PERMITTED,
    PairFinding,
    Verdict,
    actions,
    named,
    refusal_of,
)
from toolkit.rollback.pair.queries import single
from toolkit.rollback.pair.standing_in import Application, as_application, holds_privileges, may_write
from toolkit.rollback.pair.statement_log import LoggedStatement, LoggedTransaction
from toolkit.rollback.sql_lexer import Kind, SqlError, statements, tokens

NOT_NULL, CHECK = "23502", "23514"
REFUSED_VALUES = ("22P02", "22001", "22003", "22007", "22008", "22P03")
# The row is there already, is not there yet, overlaps another one: facts of the copy's data, not of its schema.
NO_EVIDENCE = ("23505", "23503", "23P01")
FAULTS = ("42", "3F")


@dataclass(frozen=True)
class Replay:
    """Of `transactions`, `tried` statements were run and `met` of them found rows. Kinds are a verb and a table: `ran`
    are those that ran at all, `written` those that changed rows, or whose row was there already: by then the server had
    checked all it asks of a row."""

    findings: tuple[PairFinding, ...]
    transactions: int
    tried: int
    met: int
    written: tuple[str, ...]
    ran: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Outcome:
    """Of one statement: the server's code and what may be told, or how many rows it met. `needs_rows`: without any it
    tells little."""

    code: str | None = None
    said: str = ""
    rows: int = 0
    needs_rows: bool = True


def replayed(copy: Database, requests: Sequence[LoggedTransaction], application: Application) -> Replay:
    """Replay each transaction by itself. Raises DatabaseError where the copy does not answer."""
    with as_application(copy, application) as conn:
        outcomes = _Stage(conn).play(requests)
    written = {named(statement.sql) for statement, outcome in outcomes if outcome.rows and _writes(statement.sql)}
    met = sum(outcome.rows > 0 for _, outcome in outcomes)
    ran = {named(statement.sql) for statement, outcome in outcomes if outcome.code is None}
    return Replay(tuple(_told(outcomes)), len(requests), len(outcomes), met, tuple(sorted(written)), tuple(sorted(ran)))


class _Stage:
    """One session on the copy. A text is prepared once: what was prepared outlives every rollback to a savepoint."""

    def __init__(self, conn: Connection) -> None:
        self._conn, self._granted, self._writes = conn, holds_privileges(conn), may_write(conn)
        self._prepared: dict[tuple[str, tuple[str, ...]], sql.Identifier] = {}

    def play(self, requests: Sequence[LoggedTransaction]) -> list[tuple[LoggedStatement, _Outcome]]:
        """What became of each statement, in order. A request goes on after what is refused, as far as it can."""
        outcomes: list[tuple[LoggedStatement, _Outcome]] = []
        for request in requests:
            with self._conn.transaction(force_rollback=True):
                outcomes += [(each, self._statement(each)) for each in request.statements]
        return outcomes

    def _statement(self, statement: LoggedStatement) -> _Outcome:
        """Run one. It alone is undone where it is refused, so that the ones after it can be tried."""
        on_data = single(statement.sql) is not None
        if not (on_data and all(map(_is_type, statement.types))) and not _sets_a_setting(statement.sql):
            return _Outcome("0A000", "it is no single statement on data and was not tried")
        try:
            with self._conn.transaction():
                run = self._execution(statement) if on_data else _as_it_is(statement.sql)
                met = max(self._conn.execute(run).rowcount, 0)
                return _Outcome(rows=met or _was_there(statement.sql), needs_rows=on_data)
        except self._conn.Error as error:
            code = error.sqlstate
            if code is None or code.startswith(("57", "08")):
                raise
            if code == NOT_PERMITTED and not self._granted:
                return _Outcome(*NO_GRANTS)
            if code == NOT_PERMITTED and not self._writes:
                return _Outcome(*NO_WRITES)
            return _Outcome(code, refusal_of(error))

    def _execution(self, statement: LoggedStatement) -> sql.Composed:
        """What is to be run once it is prepared, with its types. The server reads the values as these."""
        key = statement.sql, statement.types
        if key not in self._prepared:
            name = sql.Identifier(f"pair_request_{len(self._prepared)}")
            types = sql.SQL("({})").format(sql.SQL(", ").join(map(_as_it_is, statement.types)))
            preparing = sql.SQL("PREPARE {} {} AS {}")
            self._conn.execute(
                preparing.format(name, types if statement.types else sql.SQL(""), _as_it_is(statement.sql))
            )
            self._prepared[key] = name
        values = sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, statement.params)))
        return sql.SQL("EXECUTE {} {}").format(self._prepared[key], values if statement.params else sql.SQL(""))


def _told(outcomes: Iterable[tuple[LoggedStatement, _Outcome]]) -> Iterator[PairFinding]:
    """A finding for each statement's text and what came of it, with how often."""
    counts: Counter[tuple[str, _Outcome]] = Counter()
    for statement, outcome in outcomes:
        counts[statement.sql, replace(outcome, rows=min(outcome.rows, 1))] += 1
    for (text, outcome), times in counts.items():
        again = f" ({times} times)" if times > 1 else ""
        if outcome.code is None:
            said = "it ran" if outcome.rows or not outcome.needs_rows else "it ran and met no row, which tells little"
        else:
            said = outcome.said + ("; a fact of the copy's rows, no evidence" if outcome.code in NO_EVIDENCE else "")
        kind = named(text)
        yield PairFinding("real request", _verdict(outcome), f"{kind}{again}", said, outcome.code, kind=kind)


def _verdict(outcome: _Outcome) -> Verdict:
    code = outcome.code
    if code is None:
        return "fits" if outcome.rows or not outcome.needs_rows else "unknown"
    wrong = code[:2] in FAULTS or code in (NOT_NULL, CHECK, *REFUSED_VALUES)
    return "incompatible" if wrong else "unknown"


def _was_there(text: str) -> int:
    """1 for an INSERT of given values that leaves to others what is there already: it met that row."""
    statement = single(text)
    if statement is None or not statement.begins("insert"):
        return 0
    words = [token.text for token in statement.tokens if token.is_word("values", "select", "conflict")]
    return int(words[:1] == ["values"] and "conflict" in words)


def _writes(text: str) -> bool:
    """Whether the rows that it met are rows that it changed. Not known where several parts of a WITH change some, or
    one that is not the last."""
    statement = single(text)
    if statement is None or len(actions(statement)) != 1:
        return False
    depth = 0
    for token in statement.tokens:
        depth += {"(": 1, ")": -1}.get(token.text, 0) if token.kind is Kind.SYMBOL else 0
        if depth == 0 and token.is_word("select", "insert", "update", "delete", "merge"):
            return not token.is_word("select")
    return False


def _is_type(name: str) -> bool:
    """Whether this is a type's name and nothing else: `uuid[]`, `numeric(12, 2)`, `public.action_source`."""
    try:
        found = list(tokens(name))
    except SqlError:
        return False
    return bool(found) and all(each.is_name or each.kind is Kind.NUMBER or each.text in ".[](), " for each in found)


def _sets_a_setting(text: str) -> bool:
    """Whether this is SET LOCAL of a setting of the application's own, such as app.company_id."""
    try:
        found = statements(text)
    except SqlError:
        return False
    if len(found) != 1 or not found[0].begins("set", "local"):
        return False
    name = found[0].tokens[2:5]
    return len(name) == 3 and name[0].is_name and name[1].text == "." and name[2].is_name


def _as_it_is(text: str) -> sql.SQL:
    """The recorded text itself: it is not ours to compose."""
    return sql.SQL(text)
