"""From a folder of evidence to what it says: sources, onset and recovery, phases, impact, timeline. pandas lives here.

    references, sources    what there is, and where in it
    onset, traffic         when requests began and ceased to fail
    response, execution    what people and programs did about it
    phases, impact         how long, how much
    affected               whose events, and what amounts they carry
    telling, timeline      one story for people; activities: what lasted
    model                  all of it: `analyse`

It measures and cites; it writes nothing and decides nothing. Whatever is not in the evidence is None.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolkit.analysis.model import Analysis, analyse, cited

__all__ = ["Analysis", "analyse", "cited"]


def __getattr__(name: str) -> object:
    """The model is loaded when it is asked for: it brings pandas along, and who only reads a journal needs none."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from toolkit.analysis import model

    return getattr(model, name)
