"""The command `toolkit`: every verb with help, examples and `--json`; every error one paragraph and an exit code.

    0  done and verified      2    wrong use
    1  failed                 3    done, but not verified
                              130  interrupted

Owns how commands read and answer. What they do lies below.
"""

import json
import sys
import traceback
from typing import Annotated

import typer
from typer._click.exceptions import ClickException  # typer's own copy, which it raises and does not show elsewhere

import toolkit
from toolkit.cli import (
    assess,
    backup,
    campaign,
    checklist,
    declare,
    diagnose,
    drill,
    gameday,
    journal,
    migration,
    monitor,
    playbook,
    postmortem,
    preflight,
    recovery_test,
    responding,
    restore,
    rollback,
    salvage,
    sandbox,
    status,
    trends,
    update,
    verify,
)
from toolkit.cli.options import told_error
from toolkit.errors import ToolkitError
from toolkit.redaction import redact

app = typer.Typer(
    name="toolkit",
    help="Roll back with confidence: drills, real rollbacks and post-mortems for a service on PostgreSQL and Vercel.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.add_typer(drill.app, name="drill")
app.add_typer(campaign.app, name="campaign")
app.add_typer(gameday.app, name="gameday")
app.add_typer(sandbox.app, name="sandbox")
app.add_typer(journal.app, name="journal")
app.add_typer(backup.app, name="backup")
app.add_typer(migration.app, name="migration")
app.add_typer(salvage.app, name="salvage")
app.add_typer(restore.app, name="restore")
app.add_typer(playbook.app, name="playbook")
app.add_typer(checklist.app, name="checklist")
app.add_typer(update.app, name="update")
app.command(name="rollback", epilog=rollback.EMERGENCY_EXAMPLES)(rollback.emergency_rollback)
app.command(name="preflight", epilog=preflight.EXAMPLES)(preflight.preflight)
app.command(name="status", epilog=status.EXAMPLES)(status.status)
app.command(name="diagnose", epilog=diagnose.EXAMPLES)(diagnose.diagnose)
app.command(name="logs", epilog=diagnose.LOGS_EXAMPLES)(diagnose.logs)
app.command(name="assess", epilog=assess.EXAMPLES)(assess.assess)
app.command(name="verify", epilog=verify.EXAMPLES)(verify.verify)
app.command(name="decide", epilog=assess.DECIDE_EXAMPLES)(assess.decide)
app.command(name="declare", epilog=declare.EXAMPLES)(declare.declare)
app.command(name="monitor", epilog=monitor.EXAMPLES)(monitor.monitor)
app.command(name="acknowledge", epilog=responding.ACKNOWLEDGE_EXAMPLES)(responding.acknowledge)
app.command(name="role", epilog=responding.ROLE_EXAMPLES)(responding.role)
app.command(name="note", epilog=responding.NOTE_EXAMPLES)(responding.note)
app.command(name="recovery-test", epilog=recovery_test.EXAMPLES)(recovery_test.recovery_test)
app.command(name="trends", epilog=trends.EXAMPLES)(trends.trends)
app.command(name="postmortem", epilog=postmortem.EXAMPLES)(postmortem.postmortem)


PREVIOUS = "--app-rollback=previous"  # without a deployment; with an empty one, as of an unset variable, it is refused


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(toolkit.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Read by every command; holds what belongs to none of them."""


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit. Wrong words exit with 2, Ctrl-C with 130; an error of ours is one paragraph."""
    words = sys.argv[1:] if argv is None else argv
    as_json = "--json" in words
    try:
        ended = app([PREVIOUS if word == "--app-rollback" else word for word in words], standalone_mode=not as_json)
        sys.exit(ended if isinstance(ended, int) else 0)
    except ClickException as error:  # wrong words; without --json typer tells them by itself
        error.show()
        _print(ToolkitError(error.format_message(), state="nothing was done", next="see --help"))
        sys.exit(error.exit_code)
    except typer.Abort:
        sys.exit(130)
    except ToolkitError as error:
        _tell(error, as_json=as_json)
        sys.exit(error.exit_code)
    except OSError as error:  # a full disk, a folder that is not ours: the machine's word, no traceback
        path = f" ({error.filename})" if error.filename else ""
        _tell(
            ToolkitError(f"{error.strerror or error}{path}", next="mend that, then repeat the command"), as_json=as_json
        )
        sys.exit(1)
    except Exception as error:  # a fault of ours: told without the secrets that its traceback may quote
        _tell_fault(error, as_json=as_json)
        sys.exit(1)


def emergency_rollback() -> None:
    """The playbook's own command: `toolkit rollback` under its name."""
    main(["rollback", *sys.argv[1:]])


def _tell(error: ToolkitError, *, as_json: bool) -> None:
    if as_json:
        _print(error)
    typer.echo(str(error), err=True)


def _tell_fault(error: Exception, *, as_json: bool) -> None:
    typer.echo(redact("".join(traceback.format_exception(error))), err=True)
    what = f"The toolkit itself failed: {type(error).__name__}: {error}"
    _tell(ToolkitError(what, next="look with --status-only how it stands; report the lines above"), as_json=as_json)


def _print(error: ToolkitError) -> None:
    typer.echo(json.dumps(told_error(error)))
