"""The playbook's three texts, word for word, and how a text with gaps shows them.

A placeholder of the playbook is `[Description]`. A value that is not known stays in its brackets and says so,
`[Description: not known yet]`: nothing is made up, and nobody overlooks it.
"""

from dataclasses import asdict, dataclass
from enum import StrEnum

from toolkit.analysis.discretion import discreet


class Kind(StrEnum):
    """Which of the three it is."""

    INITIAL = "initial"
    UPDATE = "update"
    RESOLVED = "resolved"


INITIAL = """\
🚨 PRODUCTION INCIDENT DECLARED 🚨

Service: {service}
Severity: {severity}
Time: {time}
Impact: {impact}

Investigation in progress. Next update in {minutes} minutes.

On-call: {on_call}"""

UPDATE = """\
🚨 INCIDENT UPDATE - {severity}
Status: {status}
Impact: {impact}
Timeline: {timeline}
Next Update: {next_update}
On-call: {on_call}"""

RESOLVED = """\
✅ INCIDENT RESOLVED ✅

Service: {service}
Severity: {severity}
Duration: {duration}
Resolution: {resolution}

Service is now fully operational. Post-incident analysis will follow.

On-call: {on_call}"""

TEMPLATES = {Kind.INITIAL: INITIAL, Kind.UPDATE: UPDATE, Kind.RESOLVED: RESOLVED}
DRILL = "DRILL. Nothing is broken but a sandbox, and this is sent to nobody.\n\n"

PLACEHOLDERS = {
    "service": "Service",
    "severity": "SEVERITY",
    "time": "Timestamp",
    "impact": "Description",
    "minutes": "15/30/60",
    "on_call": "Name",
    "status": "Investigating/Mitigating/Resolved",
    "timeline": "Key events",
    "next_update": "Time",
    "duration": "X hours Y minutes",
    "resolution": "Description",
}


@dataclass(frozen=True)
class Values:
    """What is filled in, in words; None where it is not known."""

    service: str | None = None
    severity: str | None = None
    time: str | None = None
    impact: str | None = None
    minutes: str | None = None
    on_call: str | None = None
    status: str | None = None
    timeline: str | None = None
    next_update: str | None = None
    duration: str | None = None
    resolution: str | None = None


@dataclass(frozen=True)
class Said:
    """What a person says for this message, in place of what the journal would. '' says nothing."""

    impact: str = ""
    public_impact: str = ""
    resolution: str = ""
    on_call: str = ""


@dataclass(frozen=True)
class Filled:
    """A text, and the names of the fields of it that are not known."""

    text: str
    gaps: tuple[str, ...]


def fill(kind: Kind, values: Values, *, drill: bool = False) -> Filled:
    """The template with these values. What looks like a person's or a secret is masked."""
    template = TEMPLATES[kind]
    wanted = {name: value for name, value in asdict(values).items() if f"{{{name}}}" in template}
    said = {name: _one_line(discreet(value)) if value else unknown(name) for name, value in wanted.items()}
    gaps = tuple(name for name, value in wanted.items() if not value)
    return Filled((DRILL if drill else "") + template.format(**said), gaps)


def unknown(name: str) -> str:
    """A placeholder that stays one: `[Description: not known yet]`."""
    return f"[{PLACEHOLDERS[name]}: not known yet]"


def _one_line(text: str) -> str:
    return " ".join(text.split())
