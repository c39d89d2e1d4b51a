"""One tree of errors, so that a person at three in the morning gets one paragraph and never a traceback.

    ToolkitError              exit 1
    ├── UsageError            exit 2   wrong words on the command line, in the playbook, in a notebook's parameters
    ├── UnverifiedError       exit 3   done, but not proved
    ├── DeadlineExceeded      exit 1   a condition did not come true in time
    ├── DatabaseError         exit 1   the target's PostgreSQL
    │   └── WrongServerError  exit 1   it answers, but is not the server that was meant
    ├── PlatformError         exit 1   the hosting platform's API
    ├── ServiceError          exit 1   the service's own HTTP surface
    ├── BackupError           exit 1   a backup that could not be made, or is none
    ├── JournalError          exit 1   evidence that is torn, changed or missing
    ├── RollbackError         exit 1   a plan that cannot be made or a step that failed
    └── NotebookError         exit 1   a notebook that stopped half-way

Callers pass names of targets, never URLs. What is said is redacted all the same: drivers quote what they were given.
"""

from collections.abc import Mapping

from toolkit.redaction import redact


class ToolkitError(Exception):
    """What failed, on which target, the state it left behind, and the next command.

    `str(error)` is the paragraph that a person reads.
    """

    exit_code = 1

    def __init__(
        self, what: str, *, target: str | None = None, state: str | None = None, next: str | None = None
    ) -> None:
        super().__init__(what)
        self.what, self.target, self.state, self.next = what, target, state, next

    def __str__(self) -> str:
        where = f" (target: {self.target})" if self.target else ""
        parts = [f"{self.what.rstrip('.')}{where}."]
        if self.state:
            parts.append(f"State: {self.state.rstrip('.')}.")
        if self.next:
            parts.append(f"Next: {self.next}")
        return redact(" ".join(parts))

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the paragraph, no traceback (IPython asks for this)."""
        return [f"{type(self).__name__}: {self}"]

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self._said()))

    def _said(self) -> dict[str, str | None]:
        """What it was made with beside `what`, by keyword: an error crosses processes whole."""
        return {"target": self.target, "state": self.state, "next": self.next}


def _rebuild(kind: type[ToolkitError], what: str, said: Mapping[str, str | None]) -> ToolkitError:
    return kind(what, **said)


class UsageError(ToolkitError):
    """What was asked for cannot be: an unknown name, a missing variable, a malformed file. Nothing was done."""

    exit_code = 2


class UnverifiedError(ToolkitError):
    """The action was carried out, but a check failed or could not be run. Unknown is not passed."""

    exit_code = 3


class DeadlineExceeded(ToolkitError):
    """A condition did not come true within its deadline."""


class DatabaseError(ToolkitError):
    """The target's PostgreSQL refused, was not reached, or did not answer in time.

    `sqlstate` is the server's code, five characters; None where it was not the server that spoke.
    """

    def __init__(
        self,
        what: str,
        *,
        target: str | None = None,
        state: str | None = None,
        next: str | None = None,
        sqlstate: str | None = None,
    ) -> None:
        super().__init__(what, target=target, state=state, next=next)
        self.sqlstate = sqlstate

    def _said(self) -> dict[str, str | None]:
        return super()._said() | {"sqlstate": self.sqlstate}


class WrongServerError(DatabaseError):
    """A server answers, but its identity is not the one that was recorded for this target."""


class PlatformError(ToolkitError):
    """The hosting platform's API refused, was not reached, or did not do what it said."""


class ServiceError(ToolkitError):
    """The service was not reached, or answered in a way that its contract excludes."""


class BackupError(ToolkitError):
    """A backup could not be made, is not complete, or does not hold what its manifest says."""


class JournalError(ToolkitError):
    """A journal's chain is broken, its tail is torn or lost, or somebody else is appending."""


class RollbackError(ToolkitError):
    """A rollback cannot be planned from what was found, or one of its steps failed."""


class NotebookError(ToolkitError):
    """A notebook stopped at a failing cell; what had run is kept in its output."""
