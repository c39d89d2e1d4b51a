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

from toolkit.analysis.model import Analysis, analyse, cited

__all__ = ["Analysis", "analyse", "cited"]
