"""A migration's script cut into what runs together in a transaction and what runs alone.

Pure. Transaction control is taken out where the script only wraps itself in it, since our transaction does that, and is
refused everywhere else: inside ours it would end it, and half a migration would stay.
"""

from collections.abc import Iterator, Set
from dataclasses import dataclass
from functools import cached_property

from toolkit.errors import RollbackError
from toolkit.rollback.down_sql import not_in_transaction, transaction_control
from toolkit.rollback.migrations import Script
from toolkit.rollback.sql_lexer import SqlError, Statement, Token

_OPENS, _CLOSES = "opens", "closes"
_PLAIN_CONTROL: dict[tuple[str, ...], str] = {
    ("begin",): _OPENS,
    ("start",): _OPENS,
    ("commit",): _CLOSES,
    ("end",): _CLOSES,
}
_NOISE = ("work", "transaction")


@dataclass(frozen=True)
class Piece:
    """One statement: its number in the script, from 0, and its text without the semicolon."""

    number: int
    statement: Statement
    text: str
    line: int

    @property
    def sets_patience(self) -> bool:
        """Whether it may change how long a lock is waited for, which is ours to say."""
        tokens = self.statement.tokens
        return tokens[0].is_word("reset", "discard") or "lock_timeout" in self.text.lower()

    @property
    def said(self) -> str:
        """`DROP INDEX CONCURRENTLY, line 3`, without names or values."""
        words = []
        for token in self.statement.tokens[:3]:
            if not token.is_word(*_SAYABLE):
                break
            words.append(token.text.upper())
        return f"{' '.join(words) or 'a statement'}, line {self.line}"


_SAYABLE = """
    alter analyze begin call cluster comment commit concurrently copy create database default delete detach do domain
    drop execute extension foreign from function grant index insert into lock materialized merge only owned policy
    procedure refresh reindex revoke role rule schema select sequence set subscription system table tablespace
    trigger truncate type unique update vacuum view with
""".split()  # noqa: SIM905


@dataclass(frozen=True)
class Part:
    """Pieces that run in one transaction, or a single one that runs in none."""

    pieces: tuple[Piece, ...]
    alone: bool

    @property
    def end(self) -> int:
        """The number of the statement after it."""
        return self.pieces[-1].number + 1


@dataclass(frozen=True)
class Work:
    """What there is to run of a script. Raises RollbackError when it is read, for what must not be run."""

    script: Script
    target: str

    @cached_property
    def text(self) -> str:
        return self.script.content.decode()

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        try:
            found = self.script.statements
        except SqlError as error:
            raise self._refused(f"is malformed: {error}") from None
        assert all(each.cut(self.text) for each in found), "a statement without text would seem to have run"
        control = {id(each) for each in transaction_control(found)}
        pieces, opened = list[Piece](), False
        for number, statement in enumerate(found):
            line = statement.line + self.script.first_line - 1
            if id(statement) not in control:
                pieces.append(Piece(number, statement, statement.cut(self.text), line))
                continue
            if _plain(statement) is not (_OPENS if not opened else _CLOSES):
                raise self._refused(f"controls its transaction in line {line}, in a way that cannot be taken over")
            opened = not opened
        if opened:
            raise self._refused("opens a transaction and leaves it open")
        return tuple(pieces)

    @cached_property
    def alone(self) -> frozenset[int]:
        """The numbers of statements of which the text tells that they cannot run in a transaction."""
        unwilling = {id(each) for each in not_in_transaction(self.script.statements)}
        return frozenset(piece.number for piece in self.pieces if id(piece.statement) in unwilling)

    @cached_property
    def added_labels(self) -> frozenset[int]:
        """The numbers of statements that add a label to an enum, which a transaction cannot use before it ends."""
        return frozenset(
            piece.number
            for piece in self.pieces
            if piece.statement.begins("alter", "type")
            and any(a.is_word("add") and b.is_word("value") for a, b in _pairs(piece.statement))
        )

    def settings(self, before: int) -> list[Piece]:
        """The statements before that one which set something for the rest of the session."""
        return [
            piece
            for piece in self.pieces
            if piece.number < before
            and piece.statement.tokens[0].is_word("set", "reset")
            and not piece.statement.tokens[1].is_word("local", "constraints", "transaction")
        ]

    def parts(self, alone: Set[int], after: int = 0) -> list[Part]:
        """What is to be run from statement `after` on, in order."""
        parts: list[Part] = []
        group: list[Piece] = []
        for piece in self.pieces:
            if piece.number < after:
                continue
            if piece.number not in alone:
                group.append(piece)
                continue
            parts += [Part(tuple(group), False)] if group else []
            parts.append(Part((piece,), True))
            group = []
        return parts + ([Part(tuple(group), False)] if group else [])

    def _refused(self, why: str) -> RollbackError:
        return RollbackError(
            f"{self.script.file} {why}",
            target=self.target,
            state="it was not run",
            next="restore from a backup (Type 3), or correct the script and plan again",
        )


def _plain(statement: Statement) -> str | None:
    """Whether it is BEGIN or START TRANSACTION, or COMMIT or END, and nothing more; None: something else."""
    words = tuple(token.text for token in statement.tokens if token.text not in _NOISE)
    return _PLAIN_CONTROL.get(words)


def _pairs(statement: Statement) -> Iterator[tuple[Token, Token]]:
    return zip(statement.tokens, statement.tokens[1:], strict=False)
