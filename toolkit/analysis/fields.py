"""Reading what others wrote down: a field that is missing or of another kind is None, never an error and never a guess.

Journals come from other versions and other hands. The analysis must say what is there, and 'not measured' of the rest.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Data = Mapping[str, Any]


def text(data: Data, key: str) -> str | None:
    """A text, or a number as text."""
    value = data.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value) if str(value) else None


def texts(data: Data, key: str) -> tuple[str, ...]:
    """The texts in a list; () without one."""
    value = data.get(key)
    return tuple(str(item) for item in value if item is not None) if isinstance(value, list | tuple) else ()


def number(data: Data, key: str) -> float | None:
    value = data.get(key)
    return None if isinstance(value, bool) or not isinstance(value, int | float) else float(value)


def whole(data: Data, key: str) -> int | None:
    value = number(data, key)
    return None if value is None else int(value)


def count(data: Data, key: str) -> int | None:
    """A count that is written as a number, or as {'count': n, …}."""
    value = data.get(key)
    return whole(value, "count") if isinstance(value, Mapping) else whole(data, key)


def within(data: Data, key: str) -> Data:
    """The object under a key; an empty one without."""
    value = data.get(key)
    return value if isinstance(value, Mapping) else {}


def objects(data: Data, key: str) -> Sequence[Data]:
    """The objects in a list; () without one."""
    value = data.get(key)
    return tuple(item for item in value if isinstance(item, Mapping)) if isinstance(value, list | tuple) else ()


def plain(value: Any) -> str:
    """A value in words; what is nested keeps its names."""
    match value:
        case None:
            return "not seen"
        case bool():
            return "yes" if value else "no"
        case dict():
            return "; ".join(f"{key}: {_nested(inner)}" for key, inner in value.items()) or "nothing"
        case list():
            return ", ".join(_nested(inner) for inner in value) or "none"
        case float():
            return str(round(value, 4))
    return str(value)


def _nested(value: Any) -> str:
    return f"({plain(value)})" if isinstance(value, dict) else plain(value)
