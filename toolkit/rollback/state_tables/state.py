"""The state table held against the folder: what is applied, pending, missing, changed. Pure."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from toolkit.adapters.state_tables import Found, Holder, Recorded, number_of
from toolkit.adapters.state_tables.failing import version_parts
from toolkit.rollback.migrations import Migration, MigrationFolder, Script
from toolkit.rollback.sql_lexer import Kind, SqlError, tokens
from toolkit.rollback.state_tables.listed_accounts import flyway_checksum


@dataclass(frozen=True)
class MigrationState:
    """The table held against the folder. `applied` and `pending` are versions of the folder, the oldest first.

    `drift` are versions that the table has and the folder has not (a label where there is no number). `failed` are
    labels of what is half done; `changed` versions whose file is not what was applied; `problems` what else stands in
    the way of trusting this.
    """

    tool: str
    schema: str
    table: str
    version: int | None
    dirty: bool
    applied: tuple[int, ...]
    pending: tuple[int, ...]
    drift: tuple[int | str, ...]
    label: str | None = None
    failed: tuple[str, ...] = ()
    locked_by: tuple[Holder, ...] = ()
    changed: tuple[int, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """`version 9, clean`; `version 3 (add_users), clean` where 3 is a place and no number of the tool's."""
        plain = str(Recorded(self.version, self.dirty))
        if self.label is None or self.version is None or number_of(self.label) == self.version:
            return plain
        return plain.replace(f"version {self.version}", f"version {self.version} ({self.label})", 1)

    def differences(self) -> list[str]:
        """What speaks against trusting it: where table and folder differ, who holds the lock. What waits is no
        difference."""
        told = {
            "half done": self.failed,
            "applied, and no file": self.drift,
            "changed since it was applied": self.changed,
            "its lock is held by": self.locked_by,
        }
        said = [f"{what}: {', '.join(map(str, found))}" for what, found in told.items() if found]
        return [*(["marked dirty"] if self.dirty and not self.failed else []), *said, *self.problems]


def against(found: Found, recorded: Recorded, folder: MigrationFolder) -> MigrationState:
    """What a state table says, in the versions of a folder."""
    listed, missing = _resolved(found, recorded.applied, folder)
    up_to = recorded.up_to if recorded.up_to is not None else _linear_label(found, recorded)
    below, unmatched = _below(found, up_to, folder)
    applied = {*(m.version for m in listed), *below}
    drift = tuple(_drifting(label, folder) for label in [*unmatched, *missing])
    version = max(applied, default=None) if not drift else recorded.version
    state = MigrationState(
        found.tool,
        found.schema,
        found.table,
        version,
        recorded.dirty,
        tuple(v for v in folder.versions if v in applied),
        tuple(v for v in folder.versions if v not in applied),
        drift,
        _label(version, recorded, folder),
        recorded.failed,
        recorded.locked_by,
        tuple(sorted(m.version for m in listed if _is_changed(found, m, recorded))),
    )
    return _with_problems(state, recorded)


def _linear_label(found: Found, recorded: Recorded) -> str | None:
    """A bare version, as golang-migrate keeps it, stands for all up to it."""
    return str(recorded.version) if recorded.version is not None and not recorded.applied else None


def _resolved(found: Found, labels: Sequence[str], folder: MigrationFolder) -> tuple[list[Migration], list[str]]:
    """The folder's migrations by the tool's labels, and the labels of which it has none.

    A name that comes several times (sqitch's reworked changes) is its first, second, … migration of that name.
    """
    by_label = {_canonical(found, m.label): m for m in folder.migrations.values()}
    seen = Counter[str]()
    known, missing = list[Migration](), list[str]()
    for label in labels:
        same = [m for m in folder.migrations.values() if m.name == label] if found.tool == "sqitch" else []
        if same:
            migration = same[seen[label]] if seen[label] < len(same) else None
        else:
            migration = by_label.get(_canonical(found, label)) or folder.named(label)
        seen[label] += 1
        if migration is None:
            missing.append(label)
        else:
            known.append(migration)
    return known, missing


def _canonical(found: Found, label: str) -> str:
    """Flyway takes 1.0 for 1; the others' labels are what they are."""
    if found.tool != "Flyway" or not label.replace(".", "").isdecimal():
        return label
    return ".".join(str(part) for part in version_parts(label))


def _below(found: Found, up_to: str | None, folder: MigrationFolder) -> tuple[list[int], list[str]]:
    """All versions up to and with this label; the label itself where the folder has none of it."""
    if up_to is None:
        return [], []
    known, missing = _resolved(found, [up_to], folder)
    high = known[0].version if known else number_of(up_to)
    below = [] if high is None else [v for v in folder.versions if v <= high]
    if found.tool == "Flyway":  # a baseline has no file of its own
        return [v for v in folder.versions if _before(folder.migrations[v].label, up_to)], []
    return below, missing


def _before(label: str, baseline: str) -> bool:
    return version_parts(label) <= version_parts(baseline)


def _drifting(label: str, folder: MigrationFolder) -> int | str:
    number = number_of(label)
    places = any(m.label != str(v) and number_of(m.label) != v for v, m in folder.migrations.items())
    return label if number is None or places else number


def _label(version: int | None, recorded: Recorded, folder: MigrationFolder) -> str | None:
    migration = folder.migrations.get(version) if version is not None else None
    return migration.label if migration else recorded.label


def _with_problems(state: MigrationState, recorded: Recorded) -> MigrationState:
    problems = list(recorded.problems)
    if gaps := [v for v in state.pending if state.version is not None and v < state.version and not state.drift]:
        problems.append(f"Not applied although newer ones are: {', '.join(map(str, gaps))}")
    if state.changed:
        problems.append(f"Changed since they were applied: {', '.join(map(str, state.changed))}")
    return replace(state, problems=tuple(problems))


def _is_changed(found: Found, migration: Migration, recorded: Recorded) -> bool:
    """Whether the file is not what was applied, as far as the tool keeps a trace whose rule is known."""
    kept, up = recorded.checksums.get(migration.label), migration.up
    if up is None:
        return False
    if kept is not None and found.tool == "Flyway":
        return kept != str(flyway_checksum(up.content))
    if kept is not None and found.tool in ("Prisma", "Drizzle"):
        return kept not in set(_digests(up))
    script = recorded.scripts.get(migration.label)
    return script is not None and _says(up.content.decode()) != _says(script)


def _digests(script: Script) -> Iterator[str]:
    """The SHA-256 of a script, with either kind of line ends: a checkout may have changed them."""
    unix = script.content.replace(b"\r\n", b"\n")
    for content in (script.content, unix, unix.replace(b"\n", b"\r\n")):
        yield hashlib.sha256(content).hexdigest()


def _says(script: str) -> list[tuple[Kind, str]] | str:
    """What a script says, without its layout, comments and semicolons."""
    try:
        return [(token.kind, token.text) for token in tokens(script) if token.text != ";"]
    except SqlError:
        return script
