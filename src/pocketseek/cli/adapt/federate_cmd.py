"""`pocketseek adapt federate`: many devices train one adapter; what they learn from stays with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketseek.cli import options
from pocketseek.cli.adapt import federate_messages as says
from pocketseek.cli.adapt import federate_options as wishes
from pocketseek.cli.adapt.federate_run import Federating, parse_targets
from pocketseek.cli.console import note, print_json, print_table, print_text
from pocketseek.cli.messages import Words
from pocketseek.errors import IntegrityError, NotFoundError, UsageError
from pocketseek.settings import read_settings

if TYPE_CHECKING:
    from pocketseek.package.trust.audit import AuditReport
    from pocketseek.package.trust.audit_chain import Event

app = typer.Typer(help="Learning together (Flower): server, devices, simulation.", no_args_is_help=True)


@app.command("setup")
def setup(
    simulation: Annotated[bool, typer.Option(help="With Ray, for `simulate`; not for phones.")] = True,
    json: options.Json = False,
) -> None:
    """Make the environment that Flower needs for itself: it wants other versions of some libraries than pocketseek."""
    from pocketseek.adapt.federated.environment import default_python, set_up

    settings = read_settings()
    words = Words(settings.language)
    if not json:
        note(words(says.SETTING_UP, path=default_python(settings.home).parent.parent))
    python = set_up(settings.home, simulation=simulation, tell=lambda line: None if json else note(line[:120]))
    if json:
        print_json({"python": str(python)})
    else:
        print_text(words(says.SET_UP, path=python))


@app.command("keygen")
def keygen(
    folder: Annotated[Path, typer.Argument(help="A new folder for them.", show_default=False)],
    host: Annotated[
        list[str] | None, typer.Option(help="Of a server: a name or address that devices use; repeatable.")
    ] = None,
    device: Annotated[str | None, typer.Option(metavar="NAME", help="Of a device.", show_default=False)] = None,
    json: options.Json = False,
) -> None:
    """Make a server's certificate (--host), or a device's key (--device)."""
    from pocketseek.adapt.federated.keys import make_client_keys, make_server_keys

    words = Words(read_settings().language)
    if bool(host) == bool(device):
        raise UsageError("keys are for a server or for a device; give --host HOST or --device NAME")
    if device:
        public = make_client_keys(folder, device)
        facts = {"folder": str(folder), "public": str(public)}
        text = words(says.DEVICE_KEYS, **facts)
    else:
        make_server_keys(folder, host or [])
        facts = {"folder": str(folder)}
        text = words(says.SERVER_KEYS, **facts)
    print_json(facts) if json else print_text(text)


@app.command("server")
def server(
    model: options.ModelName,
    keys: Annotated[
        Path | None, typer.Option(metavar="DIR", help="What keygen --host made.", show_default="insecure")
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Without TLS and keys, on this machine only.")] = False,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 9092,
    name: wishes.Name = "default",
    rounds: wishes.Rounds = 10,
    min_clients: wishes.MinClients = 3,
    sample_rate: wishes.SampleRate = 1.0,
    local_steps: wishes.LocalSteps = 10,
    lr: wishes.Lr = 1e-3,
    batch: wishes.Batch = 4,
    context: wishes.Context = 256,
    rank: wishes.Rank = 8,
    alpha: wishes.Alpha = None,
    targets: wishes.Targets = "all",
    clip_norm: wishes.ClipNorm = 1.0,
    noise: wishes.Noise = 0.0,
    delta: wishes.Delta = 1e-5,
    proximal_mu: wishes.ProximalMu = 0.0,
    weigh: wishes.Weigh = "equal",
    secure: wishes.Secure = True,
    validation: wishes.Validation = None,
    round_s: wishes.RoundS = 1800.0,
    give_up_s: wishes.GiveUpS = 86400.0,
    seed: wishes.Seed = 0,
    fresh: wishes.Fresh = False,
    install: wishes.Install = None,
    sign: wishes.Sign = False,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Serve a federation until its rounds are done. The same command again goes on where it was."""
    from pocketseek.adapt.federated.jobs import ServerJob

    if (keys is None) != insecure:
        raise UsageError("devices are known by keys; give --keys DIR, or for a trial on this machine --insecure")
    if insecure and host not in ("127.0.0.1", "::1", "localhost"):
        raise UsageError(f"without keys {host} would let anybody take part; listen on 127.0.0.1 or give --keys DIR")
    federating = Federating(model, name, yes=yes, json=json)
    federating.will_install(install, sign=sign)
    plan = federating.plan(
        rounds=rounds,
        min_clients=min_clients,
        sample_rate=sample_rate,
        local_steps=local_steps,
        learning_rate=lr,
        batch=batch,
        context=context,
        rank=rank,
        alpha=alpha,
        targets=parse_targets(targets),
        clip_norm=clip_norm,
        noise=noise,
        delta=delta,
        proximal_mu=proximal_mu,
        weigh=weigh,
        secure=secure,
        seed=seed,
    )
    job = federating.rounds_job(plan, validation=validation, fresh=fresh, round_s=round_s, give_up_s=give_up_s)
    federating.run(ServerJob(job, host, port, None if keys is None else str(keys.absolute())))
    federating.end()


@app.command("simulate")
def simulate(
    model: options.ModelName,
    data: Annotated[
        Path, typer.Option(metavar="DIR", help="A .jsonl or .txt file for each device.", show_default=False)
    ],
    at_once: Annotated[int, typer.Option(min=1, help="Devices that compute at the same time.")] = 1,
    name: wishes.Name = "simulation",
    rounds: wishes.Rounds = 10,
    min_clients: wishes.MinClients = 3,
    sample_rate: wishes.SampleRate = 1.0,
    local_steps: wishes.LocalSteps = 10,
    lr: wishes.Lr = 1e-3,
    batch: wishes.Batch = 4,
    context: wishes.Context = 256,
    rank: wishes.Rank = 8,
    alpha: wishes.Alpha = None,
    targets: wishes.Targets = "all",
    clip_norm: wishes.ClipNorm = 1.0,
    noise: wishes.Noise = 0.0,
    delta: wishes.Delta = 1e-5,
    proximal_mu: wishes.ProximalMu = 0.0,
    weigh: wishes.Weigh = "equal",
    secure: wishes.Secure = True,
    validation: wishes.Validation = None,
    round_s: wishes.RoundS = 1800.0,
    seed: wishes.Seed = 0,
    fresh: wishes.Fresh = False,
    install: wishes.Install = None,
    sign: wishes.Sign = False,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """The same with devices that are files, on this machine, in Flower's simulation engine."""
    from pocketseek.adapt.federated.jobs import SimulateJob, data_files

    files = data_files(data)
    if min_clients > len(files):
        raise UsageError(
            f"{data} has files for {len(files)} of {min_clients} devices; give --min-clients of that or less"
        )
    federating = Federating(model, name, yes=yes, json=json)
    federating.will_install(install, sign=sign)
    plan = federating.plan(
        rounds=rounds,
        min_clients=min_clients,
        sample_rate=sample_rate,
        local_steps=local_steps,
        learning_rate=lr,
        batch=batch,
        context=context,
        rank=rank,
        alpha=alpha,
        targets=parse_targets(targets),
        clip_norm=clip_norm,
        noise=noise,
        delta=delta,
        proximal_mu=proximal_mu,
        weigh=weigh,
        secure=secure,
        seed=seed,
    )
    job = federating.rounds_job(
        plan, validation=validation, fresh=fresh, round_s=round_s, give_up_s=600.0, pause_s=1.0, num_threads=1
    )
    federating.run(SimulateJob(job, str(data.absolute()), at_once))
    federating.end()


@app.command("client")
def client(
    model: options.ModelName,
    data: Annotated[Path, typer.Option(metavar="FILE", help=".jsonl or .txt; it stays here.", show_default=False)],
    address: Annotated[str, typer.Option("--server", metavar="HOST:PORT", help="Of the server.", show_default=False)],
    keys: Annotated[
        Path | None, typer.Option(metavar="DIR", help="What keygen --device made, and ca.pem.", show_default="insecure")
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Without TLS and keys, on this machine only.")] = False,
    charging: Annotated[bool, typer.Option(help="Only while the device is charged.")] = True,
    unmetered: Annotated[bool, typer.Option(help="Only in networks that are not paid for by the byte.")] = True,
    idle: Annotated[bool, typer.Option(help="Only while the device has little else to do.")] = True,
    most_heat: Annotated[float, typer.Option(help="°C of skin or battery; hotter, it stays out.")] = 40.0,
    strict: Annotated[bool, typer.Option("--strict", help="Stay out where one of these cannot be known, too.")] = False,
    most_steps: Annotated[int, typer.Option(min=1, help="Training steps of a round that are agreed to.")] = 200,
    least_noise: Annotated[float, typer.Option(min=0, help="Noise that a plan must have (see server --noise).")] = 0.0,
    least_clients: Annotated[int, typer.Option(min=1, help="Devices that a round must have.")] = 2,
    secure_only: Annotated[bool, typer.Option(help="Only where the server sees sums.")] = True,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Take part in a federation with this device's data, until Ctrl-C. Its terms hold whatever the server asks for."""
    from pocketseek.adapt.data_file import read_data
    from pocketseek.adapt.federated.jobs import ClientJob
    from pocketseek.adapt.federated.keys import client_keys

    if (keys is None) != insecure:
        raise UsageError(
            "the server has to know this device; give --keys DIR, or for a trial on this machine --insecure"
        )
    if insecure and not address.startswith(("127.0.0.1:", "localhost:", "[::1]:")):
        raise UsageError(f"without keys anybody could listen on the way to {address}; give --keys DIR")
    read_data(data)
    if keys is not None:
        client_keys(keys)
    federating = Federating(model, None, yes=yes, json=json)
    policy = {"charging": charging, "unmetered": unmetered, "most_c": most_heat, "idle": idle, "strict": strict}
    terms = {
        "most_steps": most_steps,
        "least_noise": least_noise,
        "least_clients": least_clients,
        "secure_only": secure_only,
    }
    where = None if keys is None else str(keys.absolute())
    job = ClientJob(
        str(federating.package), str(data.absolute()), address, where, policy, terms, federating.num_threads
    )
    federating.run(job)


@app.command("log")
def log(name: wishes.Name = "default", json: options.Json = False) -> None:
    """Show the rounds of a federation, and whether the log is as it was written."""
    from pocketseek.adapt.federated.opened import LOG
    from pocketseek.package.paths import check_model_name
    from pocketseek.package.trust.audit import AuditLog

    settings = read_settings()
    folder = settings.federations_dir / check_model_name(name)
    found = AuditLog(folder / LOG)
    if not found.exists():
        raise NotFoundError(f"there is no federation {name}; `pocketseek adapt federate server` makes one")
    rounds = [event for event in found.events() if event.name == "round-ended"]
    report = found.verify()
    forgotten = _forgotten(rounds, report)
    if json:
        shown = [dict(event.fields) for event in rounds]
        print_json({"rounds": shown, "rounds_forgotten": forgotten, "head": report.head, "problems": report.problems})
    else:
        if forgotten:
            print_text(Words(settings.language)(says.FORGOTTEN, rounds=forgotten))
        columns = ("round", "outcome", "learnt", "asked", "epsilon", "perplexity", "absent", "rejected")
        rows = [tuple(str(event.fields.get(column) or "") for column in columns) for event in rounds]
        print_table(columns, rows, essential=(0, 1))
    if report.problems:
        raise IntegrityError(f"{folder / LOG} was changed ({report.problems[0]}); do not rely on it")
    if not json:
        print_text(Words(settings.language)(says.LOG_WHOLE, lines=report.num_lines, head=report.head))


def _forgotten(rounds: Sequence[Event], report: AuditReport) -> int:
    """How many rounds, the first ones, are no longer in the log, which keeps some thousands."""
    first = rounds[0].fields.get("round") if rounds and report.first > 1 else None
    return first - 1 if isinstance(first, int) else 0
