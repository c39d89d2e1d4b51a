"""A running query's text, fit for a journal: as it was sent, with `$n` for each value, as in pg_stat_statements.

Owns what of another session's query may be told: keywords, names, parameters. Strings, numbers, comments and what a SET
assigns are taken out. Where the text cannot be read with certainty (it was cut off, or its quotes depend on a setting)
the rest is left out.
"""

from collections.abc import Iterator

from toolkit.rollback.sql_lexer import Kind, SqlError, Token, tokens

LONGEST = 1000
CUT = "…"
_HIDDEN = "<insufficient privilege>"


def without_values(text: str) -> str:
    """One line, at most LONGEST characters; '' where the server does not show the query."""
    if text.strip() == _HIDDEN:
        return ""
    said: list[str] = []
    number = _highest(text)
    end = 0
    for token in _telling(text):
        if said and (token is None or token.at > end):
            said.append(" ")
        if token is None:
            said.append(CUT)
            break
        if token.kind in (Kind.STRING, Kind.NUMBER):
            number += 1
            said.append(f"${number}")
        else:
            said.append(text[token.at : token.end])
        end = token.end
    whole = "".join(said)
    return whole if len(whole) <= LONGEST else f"{whole[: LONGEST - 1]}{CUT}"


def _telling(text: str) -> Iterator[Token | None]:
    """The tokens that may be told; None where something is left out, and nothing after it is read."""
    statement: list[Token] = []
    try:
        for token in tokens(text):
            if _depends_on_a_setting(token, text):
                yield None
                return
            statement = [] if token.text == ";" and token.kind is Kind.SYMBOL else [*statement, token]
            yield token
            if _assigns(statement):
                yield None
                return
    except SqlError:
        yield None


def _highest(text: str) -> int:
    """The highest parameter that stands in the text already, as far as it can be read."""
    found = [0]
    try:
        for token in tokens(text):
            if token.kind is Kind.SYMBOL and token.text.startswith("$") and token.text[1:].isdecimal():
                found.append(int(token.text[1:]))
    except SqlError:
        pass
    return max(found)


def _depends_on_a_setting(token: Token, text: str) -> bool:
    """Where a plain string ends depends on standard_conforming_strings, once a backslash stands in it."""
    return token.kind is Kind.STRING and text[token.at] == "'" and "\\" in token.text


def _assigns(statement: list[Token]) -> bool:
    """Whether a SET has come to what it sets: a bare word there may be anybody's name."""
    if not statement or not (
        statement[0].is_word("set")
        or (statement[0].is_word("alter") and any(each.is_word("set") for each in statement))
    ):
        return False
    last = statement[-1]
    names = ("role", "authorization", "zone")
    return (last.kind is Kind.SYMBOL and last.text == "=") or last.is_word("to", *names)
