"""Which rows and columns a migration's statements touch, as far as their text tells. Pure.

What cannot be read with certainty (a join, a subquery, an expression that does not survive being written again) is left
out and said: a proposal that is too wide lists too much, one that is too narrow would leave damage unseen.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from toolkit.rollback.damage import Damage
from toolkit.rollback.sql_lexer import Kind, SqlError, Statement, Token, tokens

_ENDS = ("where", "from", "returning", "using")
_NOT_SIMPLE = ("select", "current", "exists", "with")


@dataclass(frozen=True)
class Touched:
    """One statement's damage, its line in the file, and what of it could not be read."""

    damage: Damage
    line: int
    unread: tuple[str, ...] = ()


def touched_by(statements: Sequence[Statement]) -> tuple[Touched, ...]:
    """What these statements overwrite, delete and insert, in order."""
    return tuple(found for statement in statements for found in _touched(statement))


def _touched(statement: Statement) -> Iterator[Touched]:
    place = _Place(statement.tokens)
    if place.take("update"):
        yield from _updated(place, statement.line)
    elif place.take("delete", "from"):
        table, alias = place.table(), place.alias("using", "where", "returning")
        if table:
            condition, unread = _condition(place.rest, table, alias)
            yield Touched(Damage(table, (), condition, verb="deleted"), statement.line, unread)
    elif place.take("truncate"):
        place.take("table")
        for table in place.tables():
            yield Touched(Damage(table, verb="deleted"), statement.line)
    elif place.take("insert", "into"):
        if table := place.table():
            yield Touched(Damage(table, verb="inserted"), statement.line)
    elif place.take("alter", "table"):
        yield from _converted(place, statement.line)


def _updated(place: "_Place", line: int) -> Iterator[Touched]:
    table, alias = place.table(), place.alias("set")
    if table is None or not place.take("set"):
        return
    assigned, rest = _split(place.rest, _ENDS)
    alone = not _joins(_split(rest, ("where",))[0])
    columns: list[str] = []
    written: list[tuple[str, str]] = []
    unread: list[str] = []
    for part in _parts(assigned):
        names, value = _assignment(part)
        columns += names
        readable = len(names) == 1 and _is_plain(value) and (alone or _names_nothing(value))
        said = _text(_without(value, alias, table)) if readable else None
        if said is None:
            unread.append(f"what it writes into {', '.join(names)}")
        else:
            written.append((names[0], said))
    condition, also = _condition(rest, table, alias)
    if columns:
        damage = Damage(table, tuple(columns), condition, written=tuple(written))
        yield Touched(damage, line, (*unread, *also))


def _converted(place: "_Place", line: int) -> Iterator[Touched]:
    place.take("if", "exists")
    table = place.table()
    for part in _parts(place.rest) if table else ():
        action = _Place(part)
        if not action.take("alter"):
            continue
        action.take("column")
        name = action.next()
        if name is not None and (action.take("type") or action.take("set", "data", "type")):
            yield Touched(Damage(str(table), (name.text,)), line, (f"what it makes of {name.text}",))


def _assignment(part: Sequence[Token]) -> tuple[list[str], Sequence[Token]]:
    """The columns before the first `=` and what comes after it."""
    for at, token in enumerate(part):
        if token.kind is Kind.SYMBOL and token.text == "=":
            names = [each.text for each in part[:at] if each.is_name]
            return names, part[at + 1 :]
    return [], ()


def _condition(rest: Sequence[Token], table: str, alias: str | None) -> tuple[str | None, tuple[str, ...]]:
    """The text of a WHERE, and what could not be read."""
    before, after = _split(rest, ("where",))
    if _joins(before):
        return None, ("which rows: it joins other tables",)
    if not after:
        return None, ()
    said, _ = _split(after[1:], ("returning",))
    text = _text(_without(said, alias, table)) if _is_plain(said) else None
    return (text, ()) if text is not None else (None, ("which rows: its condition is not simple",))


def _joins(said: Sequence[Token]) -> bool:
    return any(token.is_word("from", "using") for token in said)


def _names_nothing(value: Sequence[Token]) -> bool:
    """Whether a value is the same whichever row of whichever table it is read over."""
    return not any(token.is_name and not token.is_word("null", "true", "false") for token in value)


def _is_plain(said: Sequence[Token]) -> bool:
    return bool(said) and not any(token.is_word(*_NOT_SIMPLE) for token in said)


def _without(said: Sequence[Token], alias: str | None, table: str) -> list[Token]:
    """Without the alias or the table's name before a column."""
    names = {alias, table, table.rpartition(".")[2]}
    kept: list[Token] = []
    skip = 0
    for at, token in enumerate(said):
        if skip:
            skip -= 1
            continue
        dotted = at + 2 < len(said) and said[at + 1].text == "." and said[at + 2].is_name
        if token.is_name and token.text in names and dotted:
            skip = 1
            continue
        kept.append(token)
    return kept


def _text(said: Sequence[Token]) -> str | None:
    """The tokens as SQL again; None unless that reads as the same tokens."""
    parts: list[str] = []
    before: Token | None = None
    for token in said:
        glued = before is not None and before.kind is Kind.SYMBOL and token.kind is Kind.SYMBOL
        parts.append(("" if glued or before is None else " ") + _spelled(token))
        before = token
    text = "".join(parts)
    try:
        again = [(token.kind, token.text) for token in tokens(text)]
    except SqlError:
        return None
    return text if again == [(token.kind, token.text) for token in said] and "\\" not in text else None


def _spelled(token: Token) -> str:
    if token.kind is Kind.STRING:
        return f"'{token.text}'"
    if token.kind is Kind.QUOTED:
        return '"' + token.text.replace('"', '""') + '"'
    return token.text


def _parts(said: Sequence[Token]) -> Iterator[Sequence[Token]]:
    """Cut at the commas that stand in no bracket."""
    depth, begin = 0, 0
    for at, token in enumerate(said):
        depth += _step(token)
        if depth == 0 and token.kind is Kind.SYMBOL and token.text == ",":
            yield said[begin:at]
            begin = at + 1
    yield said[begin:]


def _split(said: Sequence[Token], words: Sequence[str]) -> tuple[Sequence[Token], Sequence[Token]]:
    """Before and from the first of these keywords that stands in no bracket."""
    depth = 0
    for at, token in enumerate(said):
        depth += _step(token)
        if depth == 0 and token.is_word(*words) and not (at >= 2 and said[at - 1].is_word("distinct")):
            return said[:at], said[at:]
    return said, ()


def _step(token: Token) -> int:
    if token.kind is not Kind.SYMBOL:
        return 0
    return {"(": 1, "[": 1, ")": -1, "]": -1}.get(token.text, 0)


class _Place:
    """A place in a statement's tokens."""

    def __init__(self, said: Sequence[Token]) -> None:
        self.rest = said

    def next(self) -> Token | None:
        if not self.rest:
            return None
        token, self.rest = self.rest[0], self.rest[1:]
        return token

    def take(self, *words: str) -> bool:
        """Pass over these keywords if they come next."""
        if len(self.rest) < len(words):
            return False
        if not all(token.is_word(word) for token, word in zip(self.rest, words, strict=False)):
            return False
        self.rest = self.rest[len(words) :]
        return True

    def table(self) -> str | None:
        """`table` or `schema.table`; None where there is none."""
        self.take("only")
        names: list[str] = []
        while self.rest and self.rest[0].is_name:
            names.append(self.rest[0].text)
            self.rest = self.rest[1:]
            if not (self.rest and self.rest[0].text == "."):
                break
            self.rest = self.rest[1:]
        if self.rest and self.rest[0].kind is Kind.SYMBOL and self.rest[0].text == "*":
            self.rest = self.rest[1:]
        return ".".join(names) or None

    def tables(self) -> list[str]:
        found = []
        while (table := self.table()) is not None:
            found.append(table)
            if not (self.rest and self.rest[0].text == ","):
                break
            self.rest = self.rest[1:]
        return found

    def alias(self, *until: str) -> str | None:
        """The table's other name, if one stands before these keywords."""
        self.take("as")
        if self.rest and self.rest[0].is_name and not self.rest[0].is_word(*until):
            token = self.next()
            return token.text if token else None
        return None
