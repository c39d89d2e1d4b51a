"""Rows as columns of plain text, in line, nothing cut and nothing drawn: to be read aloud, copied, and searched."""

from collections.abc import Mapping, Sequence

INDENT, BETWEEN = "  ", "  "


def in_columns(rows: Sequence[Mapping[str, str]]) -> str:
    """A line of headings, then each row; a cell of several lines takes several. '' for no rows."""
    if not rows:
        return ""
    names = list(rows[0])
    cells = [[row.get(name, "").splitlines() or [""] for name in names] for row in rows]
    wide = [
        max(len(line) for line in (name, *(line for row in cells for line in row[i]))) for i, name in enumerate(names)
    ]
    lines = [_line(names, wide)]
    for row in cells:
        height = max(map(len, row))
        lines += [_line([part[n] if n < len(part) else "" for part in row], wide) for n in range(height)]
    return "\n".join(lines)


def _line(cells: Sequence[str], wide: Sequence[int]) -> str:
    return (INDENT + BETWEEN.join(cell.ljust(width) for cell, width in zip(cells, wide, strict=True))).rstrip()
