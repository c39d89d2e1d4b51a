"""The pictures, for notebooks and for the post-mortem. Each comes as SVG, for wide and narrow screens, with its words.

picture = figures.overview(analysis)
show_svg(picture.svg, picture.alt)
"""

from pathlib import Path

from toolkit.report.canvas import Picture
from toolkit.report.overview import overview
from toolkit.report.swimlanes import swimlanes

__all__ = ["Picture", "overview", "save", "swimlanes"]


def save(picture: Picture, folder: Path) -> Path:
    """Write the wide picture as `<folder>/<name>.svg`. Returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{picture.name}.svg"
    file.write_text(picture.svg, encoding="utf-8")
    return file
