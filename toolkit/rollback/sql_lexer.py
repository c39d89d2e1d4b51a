"""Just enough of PostgreSQL's lexical rules to read a migration without being fooled by its comments and strings.

Owns cutting SQL into tokens and tokens into statements, as psql cuts them. It knows no grammar and changes no text.
Strings are read as `standard_conforming_strings = on` has it, the default since 9.1.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum


class SqlError(ValueError):
    """Text that no server would take: a quote, a comment or a bracket without an end. `line` counts from 1."""

    def __init__(self, what: str, line: int) -> None:
        super().__init__(f"{what} that begins in line {line} has no end")
        self.what, self.line = what, line


class Kind(StrEnum):
    WORD = "word"
    QUOTED = "quoted"
    STRING = "string"
    NUMBER = "number"
    SYMBOL = "symbol"


@dataclass(frozen=True)
class Token:
    """A word (folded to lower case, as the server does), a quoted identifier (without its quotes), a string, …

    `line` counts from 1. `at` and `end` are where it stands in the text that was cut, its quotes included.
    """

    kind: Kind
    text: str
    line: int
    at: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)

    def is_word(self, *words: str) -> bool:
        """Whether it is one of these keywords; a quoted identifier never is."""
        return self.kind is Kind.WORD and self.text in words

    @property
    def is_name(self) -> bool:
        return self.kind in (Kind.WORD, Kind.QUOTED)


@dataclass(frozen=True)
class Statement:
    """The tokens of one statement, without its semicolon. Never empty."""

    tokens: tuple[Token, ...]

    @property
    def line(self) -> int:
        return self.tokens[0].line

    def cut(self, sql: str) -> str:
        """Its own text, out of the text that it was cut from; without the semicolon."""
        return sql[self.tokens[0].at : self.tokens[-1].end]

    def begins(self, *words: str) -> bool:
        """Whether these keywords come first, in this order."""
        return len(self.tokens) >= len(words) and all(
            token.is_word(word) for token, word in zip(self.tokens, words, strict=False)
        )


_LETTER = r"[A-Za-z_\x80-\U0010ffff]"
_SKIPPED = re.compile(r"[ \t\r\n\f\v]+|--[^\r\n]*")
_WORD = re.compile(rf"{_LETTER}(?:{_LETTER}|[0-9$])*")
_NUMBER = re.compile(r"(?:0[xXoObB][0-9A-Fa-f_]+|(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9_]+)?)")
_DOLLAR = re.compile(rf"\$(?:{_LETTER}(?:{_LETTER}|[0-9])*)?\$")
_PARAMETER = re.compile(r"\$[0-9]+")
_PLAIN_STRING = re.compile(r"'(?:[^']|'')*+'")
_ESCAPE_STRING = re.compile(r"'(?:[^'\\]|''|\\.)*+'", re.DOTALL)
_IDENTIFIER = re.compile(r'"(?:[^"]|"")*+"')
_CONTINUED = re.compile(r"(?:[ \t\f\v]|--[^\r\n]*)*[\r\n](?:[ \t\r\n\f\v]|--[^\r\n]*[\r\n])*(?=')")
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_PREFIX = re.compile(r"(?:[eEbBxXnN]|[uU]&)(?=')|[uU]&(?=\")")


def tokens(sql: str) -> Iterator[Token]:
    """The tokens, in order, comments and white space left out. Raises SqlError for what has no end."""
    return (token for token, _, _ in _placed(sql))


def statements(sql: str) -> list[Statement]:
    """The statements, cut at each semicolon that is in no bracket and in no function body (BEGIN ATOMIC … END).

    Raises SqlError.
    """
    return [statement for statement, _ in cut(sql)]


def cut(sql: str) -> list[tuple[Statement, str]]:
    """The statements, each with its own text from its first token to its last, without the semicolon. Raises SqlError.

    The texts are slices of `sql`: what runs singly is what stands in the file.
    """
    found: list[tuple[Statement, str]] = []
    current: list[Token] = []
    brackets: list[Token] = []
    blocks: list[Token] = []
    begins = ends = 0
    for token, start, end in _placed(sql):
        if token.text == ";" and token.kind is Kind.SYMBOL and not brackets and not blocks:
            found += [(Statement(tuple(current)), sql[begins:ends])] if current else []
            current = []
            continue
        _follow_brackets(token, brackets)
        _follow_blocks(token, current, blocks)
        begins, ends = begins if current else start, end
        current.append(token)
    for opened, what in ((brackets, "A bracket"), (blocks, "A function's body")):
        if opened:
            raise SqlError(what, opened[-1].line)
    return found + ([(Statement(tuple(current)), sql[begins:ends])] if current else [])


def _placed(sql: str) -> Iterator[tuple[Token, int, int]]:
    """The tokens, each with where its text begins and ends."""
    at, line = 0, 1
    while at < len(sql):
        token, end = _next(sql, at, line)
        if token is not None:
            yield replace(token, at=at, end=end), at, end
        line += sql.count("\n", at, end)
        at = end


def _next(sql: str, at: int, line: int) -> tuple[Token | None, int]:
    """The token at a position, None for what is skipped, and where the next one begins."""
    if skipped := _SKIPPED.match(sql, at):
        return None, skipped.end()
    if sql.startswith("/*", at):
        return None, _end_of_comment(sql, at, line)
    prefix = _PREFIX.match(sql, at)
    if prefix or sql[at] in "'\"":
        return _quoted(sql, at, prefix.end() if prefix else at, line)
    if opening := _DOLLAR.match(sql, at):
        end = sql.find(opening[0], opening.end())
        if end < 0:
            raise SqlError(f"A string in {opening[0]}", line)
        return Token(Kind.STRING, sql[opening.end() : end], line), end + len(opening[0])
    for pattern, kind in ((_WORD, Kind.WORD), (_NUMBER, Kind.NUMBER), (_PARAMETER, Kind.SYMBOL)):
        if (match := pattern.match(sql, at)) and match.end() > at:
            return Token(kind, _folded(match[0]) if kind is Kind.WORD else match[0], line), match.end()
    return Token(Kind.SYMBOL, sql[at], line), at + 1


def _quoted(sql: str, at: int, quote: int, line: int) -> tuple[Token, int]:
    """A string or a quoted identifier whose quote stands at `quote`, after its prefix, if it has one, at `at`."""
    if sql[quote] == '"':
        if not (match := _IDENTIFIER.match(sql, quote)):
            raise SqlError("A quoted identifier", line)
        return Token(Kind.QUOTED, match[0][1:-1].replace('""', '"'), line), match.end()
    pattern = _ESCAPE_STRING if sql[at] in "eE" else _PLAIN_STRING
    parts, end = [], quote
    while True:
        if not (match := pattern.match(sql, end)):
            raise SqlError("A string", line)
        parts.append(match[0][1:-1])
        if not (more := _CONTINUED.match(sql, match.end())):
            return Token(Kind.STRING, "".join(parts), line), match.end()
        end = more.end()


def _end_of_comment(sql: str, at: int, line: int) -> int:
    depth, end = 1, at + 2
    while depth:
        edge = _COMMENT_EDGE.search(sql, end)
        if edge is None:
            raise SqlError("A comment", line)
        depth += 1 if edge[0] == "/*" else -1
        end = edge.end()
    return end


def _follow_brackets(token: Token, brackets: list[Token]) -> None:
    if token.kind is not Kind.SYMBOL:
        return
    if token.text == "(":
        brackets.append(token)
    elif token.text == ")" and brackets:
        brackets.pop()


def _follow_blocks(token: Token, before: list[Token], blocks: list[Token]) -> None:
    """BEGIN ATOMIC of a function or procedure opens a block, CASE inside it another, END closes one."""
    if token.is_word("atomic") and before and before[-1].is_word("begin") and _makes_a_routine(before):
        blocks.append(before[-1])
    elif blocks and token.is_word("case"):
        blocks.append(token)
    elif blocks and token.is_word("end"):
        blocks.pop()


def _makes_a_routine(before: list[Token]) -> bool:
    words = [token.text for token in before[:4] if token.kind is Kind.WORD]
    return words[:1] == ["create"] and ("function" in words or "procedure" in words)


def _folded(word: str) -> str:
    """Lower case for ASCII letters only: what else is folded depends on the server's locale."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in word)
