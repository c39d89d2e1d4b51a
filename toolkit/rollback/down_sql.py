"""What a down does, as far as its text tells: what it destroys, and what must not be in it.

Pure. It reads statements as the lexer cuts them, and says where the text alone cannot tell (`hidden_code`): code that a
down runs may do anything. What is there to lose is counted elsewhere, on the live database.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from toolkit.rollback.sql_lexer import Statement, Token


class LossKind(StrEnum):
    TABLE = "table"
    COLUMN = "column"
    TYPE = "type"
    SCHEMA = "schema"
    SEQUENCE = "sequence"
    EXTENSION = "extension"
    VALUES = "values"  # a column keeps its name and gets another type
    ROWS = "rows"  # removed or overwritten


Name = tuple[str, ...]  # as written: ("events",) or ("public", "events")


@dataclass(frozen=True)
class Loss:
    """Something that a down removes: an object by its name, or a column of one. `cascade`: and what hangs on it."""

    kind: LossKind
    name: Name
    column: str | None = None
    cascade: bool = False
    verb: str = "drops"

    @property
    def what(self) -> str:
        """`the column recovery_cases.failure_category`"""
        dotted = ".".join([*self.name, *([self.column] if self.column else [])])
        subject = {LossKind.ROWS: "rows of", LossKind.VALUES: "values of"}.get(self.kind, f"the {self.kind}")
        return f"{subject} {dotted}{', and what depends on it' if self.cascade else ''}"


def transaction_control(found: Sequence[Statement]) -> list[Statement]:
    """Statements that begin or end a transaction. Inside ours they would end it, and half a down would stay."""
    return [statement for statement in found if _controls_transaction(statement)]


def not_in_transaction(found: Sequence[Statement]) -> list[Statement]:
    """Statements of which it is known that no server runs them in a transaction. The server has the last word."""
    return [statement for statement in found if _wants_no_transaction(statement)]


def hidden_code(found: Sequence[Statement]) -> list[Statement]:
    """Statements whose effect their text does not tell: DO, CALL, functions in a SELECT, DROP OWNED, …"""
    return [
        statement
        for statement in found
        if statement.tokens[0].is_word("do", "call", "execute", "select", "with", "merge")
        or statement.begins("drop", "owned")
    ]


def losses(found: Sequence[Statement]) -> list[Loss]:
    """What these statements remove that holds data, in order. Indexes, constraints, triggers and views hold none."""
    return [loss for statement in found for loss in _losses_of(statement)]


def _controls_transaction(statement: Statement) -> bool:
    first = statement.tokens[0]
    if first.is_word("rollback"):
        return not any(token.is_word("to") for token in statement.tokens[1:3])
    starts = (("start", "transaction"), ("prepare", "transaction"))
    return first.is_word("begin", "commit", "end", "abort") or any(statement.begins(*words) for words in starts)


_ALONE = (
    *(("vacuum",), ("alter", "system"), ("reindex", "database"), ("reindex", "system")),
    *((verb, thing) for verb in ("create", "drop") for thing in ("database", "tablespace", "subscription")),
)


def _wants_no_transaction(statement: Statement) -> bool:
    indexing = statement.tokens[0].is_word("create", "drop", "reindex") or statement.begins("alter", "table")
    concurrently = indexing and any(token.is_word("concurrently") for token in statement.tokens[:6])
    return concurrently or any(statement.begins(*words) for words in _ALONE)


_DROPPED = {
    "table": LossKind.TABLE,
    "type": LossKind.TYPE,
    "domain": LossKind.TYPE,
    "schema": LossKind.SCHEMA,
    "sequence": LossKind.SEQUENCE,
    "extension": LossKind.EXTENSION,
}


def _losses_of(statement: Statement) -> Iterator[Loss]:
    words = _Words(statement.tokens)
    if words.take("drop"):
        words.take("foreign")
        thing = words.next()
        if thing is not None and thing.text in _DROPPED:
            yield from _dropped(words, _DROPPED[thing.text])
    elif words.take("alter", "table") or words.take("alter", "foreign", "table"):
        yield from _altered_table(words)
    elif words.take("alter", "type"):
        yield from _altered_type(words)
    elif words.take("truncate"):
        words.take("table")
        yield from (Loss(LossKind.ROWS, name, verb="empties") for name in words.names())
    elif words.take("delete", "from") or words.take("update"):
        verb = "deletes" if statement.tokens[0].is_word("delete") else "overwrites"
        yield from (Loss(LossKind.ROWS, name, verb=verb) for name in [words.name()] if name)


def _dropped(words: "_Words", kind: LossKind) -> Iterator[Loss]:
    words.take("if", "exists")
    names = words.names()
    cascade = any(token.is_word("cascade") for token in words.rest())
    yield from (Loss(kind, name, cascade=cascade) for name in names)


def _altered_table(words: "_Words") -> Iterator[Loss]:
    words.take("if", "exists")
    table = words.name()
    if table is None:
        return
    for action in words.actions():
        if action.take("drop"):
            if action.peek("constraint"):
                continue
            action.take("column")
            action.take("if", "exists")
            column = action.next()
            if column is not None and column.is_name:
                cascade = any(token.is_word("cascade") for token in action.rest())
                yield Loss(LossKind.COLUMN, table, column.text, cascade)
        elif action.take("alter"):
            action.take("column")
            column = action.next()
            if column is not None and (action.take("type") or action.take("set", "data", "type")):
                yield Loss(LossKind.VALUES, table, column.text, verb="converts")


def _altered_type(words: "_Words") -> Iterator[Loss]:
    name = words.name()
    for action in words.actions():
        if name is not None and action.take("drop", "attribute"):
            action.take("if", "exists")
            attribute = action.next()
            if attribute is not None:
                yield Loss(LossKind.VALUES, name, attribute.text, verb="drops")


class _Words:
    """A place in a statement's tokens."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens, self._at = tokens, 0

    def rest(self) -> Sequence[Token]:
        return self._tokens[self._at :]

    def next(self) -> Token | None:
        if self._at == len(self._tokens):
            return None
        self._at += 1
        return self._tokens[self._at - 1]

    def peek(self, *words: str) -> bool:
        return Statement(tuple(self.rest())).begins(*words)

    def take(self, *words: str) -> bool:
        """Pass over these keywords if they come next."""
        if not self.peek(*words):
            return False
        self._at += len(words)
        return True

    def take_symbol(self, symbol: str) -> bool:
        if not self.rest() or self.rest()[0].text != symbol or self.rest()[0].is_name:
            return False
        self._at += 1
        return True

    def name(self) -> Name | None:
        """An identifier with its schema; None where there is none."""
        self.take("only")
        parts: list[str] = []
        while (token := self.next()) is not None and token.is_name:
            parts.append(token.text)
            if not self.take_symbol("."):
                break
        self.take_symbol("*")
        return tuple(parts) or None

    def names(self) -> list[Name]:
        found = []
        while (name := self.name()) is not None:
            found.append(name)
            if not self.take_symbol(","):
                break
        return found

    def actions(self) -> Iterator["_Words"]:
        """The rest, cut at the commas that stand in no bracket: the actions of an ALTER TABLE."""
        depth, current = 0, list[Token]()
        for token in self.rest():
            if token.text in ("(", ")") and not token.is_name:
                depth += 1 if token.text == "(" else -1
            if token.text == "," and depth == 0 and not token.is_name:
                yield _Words(current)
                current = []
            else:
                current.append(token)
        yield _Words(current)
