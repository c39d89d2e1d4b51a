"""Figures in words, the same ones in every table, sentence and picture."""

from collections.abc import Sequence
from datetime import datetime, timedelta

NOT_MEASURED = "not measured"


def duration(seconds: float | None) -> str:
    """`21 ms`, `0.4 s`, `48.2 s`, `3 min 05 s`, `2 h 04 min`; 'not measured' for None."""
    if seconds is None:
        return NOT_MEASURED
    if 0 < seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def offset(seconds: float) -> str:
    """A signed duration: `+8.5 s`, `−0.4 s`, `+11 min 30 s`."""
    return f"{'−' if seconds < 0 else '+'}{duration(abs(seconds))}"


def hours_and_minutes(seconds: float) -> str:
    """The playbook's form, and the seconds: `0 hours 1 minute 12 seconds`."""
    whole = round(seconds)
    parts = (whole // 3600, "hour"), (whole % 3600 // 60, "minute"), (whole % 60, "second")
    return " ".join(plural(count, noun) for count, noun in parts)


def plural(count: int, noun: str) -> str:
    """`1 minute`, `2,400 minutes`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def share(part: float | None) -> str:
    """A share of 1 as a percentage with one digit; very small ones keep two."""
    if part is None:
        return NOT_MEASURED
    return f"{part:.2%}" if 0 < part < 0.001 else f"{part:.1%}"


def milliseconds(value: float | None) -> str:
    if value is None or value != value:
        return NOT_MEASURED
    return f"{value:,.0f} ms" if value >= 10 else f"{value:.1f} ms"


def amount(value: int | None) -> str:
    return NOT_MEASURED if value is None else f"{value:,}"


def money(cents: int) -> str:
    """Cents as `1,234.50`; the currency is the reader's to know."""
    return f"{cents / 100:,.2f}"


def size(count: int | None) -> str:
    """Bytes as `1.4 MB`."""
    if count is None:
        return NOT_MEASURED
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:,.0f} {unit}" if unit == "bytes" else f"{value:,.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def clock(moment: datetime | None, *, digits: int = 1) -> str:
    """The time of day, UTC, rounded: `03:00:12.4`."""
    if moment is None:
        return NOT_MEASURED
    unit = 10 ** (6 - digits)
    rounded = moment + timedelta(microseconds=unit // 2)
    text = rounded.strftime("%H:%M:%S")
    return f"{text}.{rounded.microsecond // unit:0{digits}d}" if digits else text


def day(moment: datetime) -> str:
    """`24 November 2026`."""
    return f"{moment.day} {moment:%B %Y}"


def listed(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def sentence(text: str) -> str:
    """With a capital letter and a full stop."""
    text = text.strip()
    return text if not text else text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")
