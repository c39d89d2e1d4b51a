"""`toolkit sandbox`: a real PostgreSQL with a service, its platform and its senders, to break and to mend by hand."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from toolkit.cli.options import REPORTS, DatabaseUrlEnv, Json, SandboxName, Seed, examples, print_json
from toolkit.clock import utc_now
from toolkit.places import DEFAULT_SANDBOX

STEADY_S = 5.0

app = typer.Typer(help="Start, look at, break and stop a sandbox.", no_args_is_help=True)


@app.command(
    epilog=examples(
        "toolkit sandbox start", 'eval "$(toolkit sandbox env)"', "toolkit sandbox start --name second --events 2000000"
    )
)
def start(
    name: SandboxName = DEFAULT_SANDBOX,
    seed: Seed = 1,
    events: Annotated[int, typer.Option(min=1, help="Rows in `events` before traffic.")] = 20_000,
    cases: Annotated[int, typer.Option(min=1, help="Rows in `recovery_cases` before traffic.")] = 5_000,
    rate: Annotated[float, typer.Option(min=0.1, help="Webhooks a second.")] = 20,
    traffic: Annotated[bool, typer.Option(help="Whether the senders send.")] = True,
    database_url_env: DatabaseUrlEnv = "",
    json: Json = False,
) -> None:
    """Start a sandbox in the background and print what is needed to use it."""
    from toolkit.drill.sandbox import Sandbox
    from toolkit.drill.state import SandboxOptions, check_seed
    from toolkit.drill.steady import expect_target, record_steady_state

    check_seed(seed)
    expect_target()
    evidence = (REPORTS / "sandboxes" / f"{utc_now():%Y%m%dT%H%M%SZ}-{name}").resolve()
    options = SandboxOptions(
        evidence=evidence,
        seed=seed,
        events=events,
        cases=cases,
        webhooks_per_s=rate,
        traffic=traffic,
        database_url_env=database_url_env,
    )
    console = Console(stderr=True)
    with console.status("Starting") as status:
        sandbox = Sandbox.start(name, options, attached=False, progress=lambda part: status.update(f"Starting {part}"))
        if traffic:
            status.update("Recording what is normal")
            try:
                record_steady_state(sandbox.state, STEADY_S)
            except BaseException:  # a half-made sandbox is none
                sandbox.stop()
                raise
    variables = sandbox.state.environment()
    if json:
        print_json({"name": name, "evidence": str(evidence), "environment": variables})
        return
    console.print(f"Sandbox [b]{name}[/b] runs, and a monitor watches it. The incident's folder is\n{evidence}\n")
    for variable, value in variables.items():
        typer.echo(f"{variable}={value}")
    console.print(
        f'\nIn a shell:  eval "$(toolkit sandbox env --name {name})"\n'
        f"Break it:    toolkit sandbox break breaking-migration --name {name}\n"
        f"End it:      toolkit sandbox stop --name {name}"
    )


@app.command(epilog=examples('eval "$(toolkit sandbox env)"'))
def env(name: SandboxName = DEFAULT_SANDBOX, json: Json = False) -> None:
    """Print a running sandbox's variables as shell exports."""
    import shlex

    from toolkit.drill.sandbox import Sandbox

    variables = Sandbox.find(name).state.environment()
    if json:
        print_json(variables)
        return
    for variable, value in variables.items():
        typer.echo(f"export {variable}={shlex.quote(value)}")


@app.command(epilog=examples("toolkit sandbox status", "toolkit sandbox status --json"))
def status(json: Json = False) -> None:
    """List the sandboxes that run, with what their senders meet just now."""
    from toolkit.drill.ledger import live
    from toolkit.drill.sandbox import running_sandboxes

    running = [(state, live(state.options.evidence / "ledger.sqlite", 10)) for state in running_sandboxes()]
    if json:
        print_json(
            {
                "sandboxes": [
                    {"name": state.name, "service": state.service_url, "platform": state.vercel_api_url}
                    | {"requests_in_10_s": rates.requests, "error_rate": rates.error_rate}
                    | {"evidence": str(state.options.evidence)}
                    for state, rates in running
                ]
            }
        )
        return
    if not running:
        typer.echo("No sandbox is running. Start one: toolkit sandbox start")
        return
    table = Table("sandbox", "service", "requests in 10 s", "failing", "evidence")
    for state, rates in running:
        share = "nothing sent" if rates.error_rate is None else f"{rates.error_rate:.1%}"
        table.add_row(state.name, state.service_url, str(rates.requests), share, str(state.options.evidence))
    Console().print(table)


@app.command(name="break", epilog=examples("toolkit sandbox break breaking-migration"))
def break_(scenario: str, name: SandboxName = DEFAULT_SANDBOX, json: Json = False) -> None:
    """Put a scenario's fault into a running sandbox. The notebooks 01 to 05 find out what it is."""
    from toolkit.drill.faults import inject
    from toolkit.drill.lever import expect_released
    from toolkit.drill.sandbox import Sandbox
    from toolkit.drill.scenario import load_scenario

    chosen = load_scenario(scenario)
    sandbox = Sandbox.find(name)
    expect_released()
    done = inject(chosen, sandbox.state)
    if json:
        print_json({"scenario": scenario, "sandbox": name, "fault": done})
    else:
        typer.echo(f"Done. The senders meet it from now on; the monitor opens an incident in\n{sandbox.evidence}")


@app.command(epilog=examples("toolkit sandbox stop", "toolkit sandbox stop --name second"))
def stop(name: SandboxName = DEFAULT_SANDBOX, json: Json = False) -> None:
    """Stop a sandbox and remove it. The evidence stays."""
    from toolkit.drill.sandbox import Sandbox

    sandbox = Sandbox.find(name)
    sandbox.stop()
    if json:
        print_json({"stopped": name, "evidence": str(sandbox.evidence)})
    else:
        typer.echo(f"Sandbox {name} is gone. Evidence: {sandbox.evidence}")
