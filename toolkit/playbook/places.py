"""Where each key of a TOML file stands, so that what is wrong with it can be found. It reads positions, not values.

Python's own reader does not tell them. A key of an inline table or an element of an array counts as the key that holds
it.
"""

import re
from collections import Counter
from collections.abc import Mapping

Path = tuple[str | int, ...]

_HEADER = re.compile(r"^\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(?:#.*)?$")
_ENTRY = re.compile(r"""^\s*((?:"[^"]*"|'[^']*'|[\w-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[\w-]+))*)\s*=(.*)$""")
_NAME = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([\w-]+))\s*""")
_STRING = re.compile(r"""\"\"\".*?(?:\"\"\"|$)|'''.*?(?:'''|$)|"(?:\\.|[^"\\])*"|'[^']*'|#.*$""")


def lines_of(text: str) -> Mapping[Path, int]:
    """The line of each table and each key, from 1."""
    found: dict[Path, int] = {(): 1}
    counted: Counter[Path] = Counter()
    table: Path = ()
    depth, quote = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if quote:
            quote = "" if quote in line else quote
            continue
        if depth <= 0 and (header := _HEADER.match(line)) and "=" not in header[2]:
            table = _entered(header[2], found, counted, is_list=header[1] == "[[")
            found[table] = number
            continue
        rest = line
        if depth <= 0 and (entry := _ENTRY.match(line)):
            found.setdefault((*table, *_names(entry[1])), number)
            depth, rest = 0, entry[2]
        depth, quote = depth + _opened(rest), _unclosed(rest)
    return found


def line_of(path: Path, lines: Mapping[Path, int]) -> int:
    """The line of a key, or of the nearest thing around it that stands in the file."""
    while path not in lines:
        path = path[:-1]
    return lines[path]


def _entered(name: str, found: Mapping[Path, int], counted: Counter[Path], *, is_list: bool) -> Path:
    path: Path = ()
    names = _names(name)
    for at, each in enumerate(names):
        path = (*path, each)
        if is_list and at == len(names) - 1:
            counted[path] += 1
        if counted[path]:
            path = (*path, counted[path] - 1)
    return path


def _names(dotted: str) -> tuple[str, ...]:
    return tuple(next(filter(None, found.groups()), "") for found in _NAME.finditer(dotted))


def _opened(line: str) -> int:
    bare = _STRING.sub("", line)
    return sum(map(bare.count, "[{")) - sum(map(bare.count, "]}"))


def _unclosed(line: str) -> str:
    """The quotes of a string that goes on in the next line."""
    for quotes in ('"""', "'''"):
        if line.count(quotes) % 2:
            return quotes
    return ""
