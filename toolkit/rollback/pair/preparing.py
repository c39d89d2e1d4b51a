"""Recorded queries, PREPAREd and planned on a copy as the application's role: nothing is run.

An undefined object is incompatible. A syntax or typing error is unknown, because normalised texts such as `interval $1`
give one on the right schema too. With a copy that has the schema the code was built for (`right`), what fails there as
well says nothing, and what fails here alone is incompatible whatever the error.
"""

from collections.abc import Iterator, Mapping, Sequence

from toolkit.adapters.postgres import Connection, Database, sql
from toolkit.rollback.pair.findings import (
    INVALID_TEXT,
    NO_FUNCTION,
    NO_GRANTS,
    NO_WRITES,
    NOT_PERMITTED,
    UNDEFINED,
    PairFinding,
    Verdict,
    named,
    refusal_of,
)
from toolkit.rollback.pair.queries import RecordedQuery, single
from toolkit.rollback.pair.standing_in import Application, as_application, holds_privileges, may_write

GENERIC_PLAN_SINCE = 160_000  # PostgreSQL 16
FAULTS = ("42", "3F", "22")  # classes that a schema can be blamed for


def prepared(
    copy: Database, queries: Sequence[RecordedQuery], application: Application, right: Database | None = None
) -> list[PairFinding]:
    """A finding for each query: 'fits' where it can be planned. Raises DatabaseError where the copy does not answer."""
    wrong = dict(_refused(copy, queries, application))
    also = {text for text, _ in _refused(right, queries, application)} if right is not None else None
    return [_finding(query, wrong.get(query.text), also) for query in queries]


def _finding(query: RecordedQuery, refused: tuple[str, str] | None, also: set[str] | None) -> PairFinding:
    kind = named(query.text)
    what = f"{kind} (digest {query.digest[:8]}, {query.calls:,} calls)"
    if refused is None:
        return PairFinding("recorded query", "fits", what, "it can be prepared and planned", kind=kind)
    code, said = refused
    if also is not None and query.text in also:
        said += "; on the schema that it was built for too, so this says nothing"
        return PairFinding("recorded query", "unknown", what, said, code, kind=kind)
    verdict = _verdict(query.text, code, said, alone=also is not None)
    return PairFinding("recorded query", verdict, what, said, code, kind=kind)


def _verdict(text: str, code: str, said: str, *, alone: bool) -> Verdict:
    """`alone`: the same text was accepted on the schema that the code was built for."""
    if alone:
        return "incompatible" if code[:2] in FAULTS else "unknown"
    if code == INVALID_TEXT:
        return "incompatible" if "enum" in said else "unknown"
    if code == NO_FUNCTION and "operator" in said and "$" in text:
        return "unknown"  # the constant's type is not in the text
    return "incompatible" if code in UNDEFINED else "unknown"


def _refused(
    copy: Database, queries: Sequence[RecordedQuery], application: Application
) -> Iterator[tuple[str, tuple[str, str]]]:
    """The texts that the server refuses, each with its code and what may be told."""
    with as_application(copy, application) as conn:
        granted, writes = holds_privileges(conn), may_write(conn)
        for query in queries:
            if single(query.text) is None:
                yield query.text, ("42601", "it is no single statement on data")
            elif (refused := _try(conn, query.text)) is not None:
                if refused[0] == NOT_PERMITTED and not granted:
                    refused = NO_GRANTS
                elif refused[0] == NOT_PERMITTED and not writes:
                    refused = NO_WRITES
                yield query.text, refused


def _try(conn: Connection, text: str) -> tuple[str, str] | None:
    """None where it can be prepared and planned."""
    conn.execute("DEALLOCATE ALL")  # what was prepared outlives the savepoint
    try:
        with conn.transaction(force_rollback=True):
            conn.execute(sql.SQL("PREPARE pair_query AS {}").format(_as_it_is(text)))
            if conn.info.server_version >= GENERIC_PLAN_SINCE:
                conn.execute(sql.SQL("EXPLAIN (GENERIC_PLAN, COSTS off) {}").format(_as_it_is(text)))
    except conn.Error as error:
        code = error.sqlstate
        if code is None or code.startswith(("57", "08")):
            raise
        return code, refusal_of(error)
    return None


def _as_it_is(text: str) -> sql.SQL:
    """The recorded text itself, percent signs and all: it is not ours to compose."""
    return sql.SQL(text)


def counted(findings: Sequence[PairFinding]) -> Mapping[str, int]:
    """How many of each verdict."""
    return {
        verdict: sum(each.verdict == verdict for each in findings) for verdict in ("fits", "incompatible", "unknown")
    }
