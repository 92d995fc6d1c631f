"""The command line: `workflow-runner up`, `token` and `migrate`."""

import argparse
import asyncio
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from services.standalone.directory import DataDirectory, default_directory
from services.standalone.refusals import CannotStart
from services.standalone.tokens import ROLES, Issuer, current_user, parse_lifetime, parse_user, parse_workspace


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the command line says; gives the exit code."""
    # Libraries ask who we are and fail for a user without a name, as in a container that runs under a bare number.
    os.environ.setdefault("LOGNAME", current_user())
    chosen = _parser().parse_args(arguments)
    try:
        return int(chosen.run(chosen))
    except CannotStart as refusal:
        print(f"workflow-runner: {refusal}", file=sys.stderr)
        return 2


def _up(chosen: argparse.Namespace) -> int:
    # The services' libraries are loaded by those commands that need them.
    from services.standalone.databases import parse_url
    from services.standalone.up import Options, up

    options = Options(
        directory=DataDirectory(chosen.data_dir),
        host=chosen.host,
        port=_port(chosen.port),
        open_workspaces=tuple(parse_workspace(workspace) for workspace in chosen.open),
        opa=_opa(chosen.opa, chosen.open),
        database=parse_url(chosen.database) if chosen.database else None,
        verbose=chosen.verbose,
    )
    # The services read their own settings from the environment that they inherit.
    for value, setting in ((chosen.job_cores, "CORES"), (chosen.job_memory, "MEMORY_MIB")):
        if value is not None:
            os.environ[f"SUBMISSION_LIMITS__{setting}"] = str(value)
    asyncio.run(up(options))
    return 0


def _token(chosen: argparse.Namespace) -> int:
    workspace = parse_workspace(chosen.workspace)
    if chosen.role not in ROLES:
        raise CannotStart(f"{chosen.role!r} is no role: choose {', '.join(ROLES[:-1])} or {ROLES[-1]}.")
    user = parse_user(chosen.user or current_user())
    lifetime = parse_lifetime(chosen.expires)
    directory = DataDirectory(chosen.data_dir)
    directory.create()
    print(Issuer(directory.identity).user_token(workspace, role=chosen.role, user=user, lifetime=lifetime))
    return 0


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise CannotStart(f"{text!r} is no port: it takes a number from 0 to 65535.")
    return int(text)


def _cores(text: str) -> float:
    try:
        cores = float(text)
    except ValueError:
        cores = 0
    if not 0 < cores <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of cores: it takes one from 0.1 to 1024.")
    return cores


def _memory_mib(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,7})(M|MiB|G|GiB)", text)
    size = int(found[1]) * (1024 if found[2].startswith("G") else 1) if found else 0
    if size < 64:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: it takes one such as 8G or 6144M, at least 64M.")
    return size


def _migrate(chosen: argparse.Namespace) -> int:
    from services.standalone.databases import migrate_given, parse_url, show_url

    url = parse_url(chosen.database)
    migrate_given(url)
    print(f"The schema of {show_url(url)} is up to date.")
    return 0


def _opa(place: str | None, open_workspaces: Sequence[str]) -> str | None:
    if place is None:
        return None
    if place.startswith(("http://", "https://")):
        if open_workspaces:
            raise CannotStart(
                "--open cannot reach into an OPA server elsewhere: open the workspace in its policy data."
            )
        return place
    if not Path(place).is_file():
        raise CannotStart(f"There is no OPA program at {place}.")
    return str(Path(place).absolute())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="workflow-runner",
        description="Runs Earth-observation application packages (CWL) as OGC API processes, on this machine.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    up = commands.add_parser(
        "up",
        help="start everything and keep it running",
        description="Starts PostgreSQL, the three services and Envoy, and keeps them running until Ctrl-C or SIGTERM.",
        epilog="Everything is kept in the data directory. Killed at any moment and started again, it goes on.",
    )
    up.add_argument(
        "--port", default="8080", help="where REST and gRPC are served; 0 takes a free port (default: %(default)s)"
    )
    up.add_argument(
        "--host", default="127.0.0.1", help="the address to serve on; 0.0.0.0 for all (default: %(default)s)"
    )
    _add_data_dir(up)
    up.add_argument(
        "--open",
        metavar="WORKSPACE",
        action="append",
        default=[],
        help="let callers without a token deploy and execute in this workspace: for a try-out; may be repeated",
    )
    up.add_argument(
        "--opa",
        metavar="PATH|URL",
        help="decide with this opa program, or with the OPA server at this URL, in place of the embedded engine",
    )
    _add_database(up, "use this database in place of one of our own")
    up.add_argument(
        "--job-cores", metavar="N", type=_cores, help="how many cores a job may use (default: all of this machine)"
    )
    up.add_argument(
        "--job-memory",
        metavar="SIZE",
        type=_memory_mib,
        help="how much memory a job may use, such as 8G or 6144M (default: four fifths of what this machine has, "
        "shared by the jobs that run at a time)",
    )
    up.add_argument("--verbose", action="store_true", help="show all that the parts write to their logs")
    up.set_defaults(run=_up)

    token = commands.add_parser(
        "token",
        help="print a token",
        description="Prints a token for the installation in the data directory, whether it is up or not.",
    )
    token.add_argument("--workspace", metavar="W", required=True, help="the workspace in which the role holds")
    token.add_argument("--role", default="owner", help=f"{', '.join(ROLES[:-1])} or {ROLES[-1]} (default: %(default)s)")
    token.add_argument("--user", help="whom the token names (default: you)")
    token.add_argument("--expires", metavar="DURATION", default="8h", help="90s, 30m, 8h, 7d (default: %(default)s)")
    _add_data_dir(token)
    token.set_defaults(run=_token)

    migrate = commands.add_parser(
        "migrate",
        help="bring the schema of a database elsewhere up to date",
        description="Brings the schema of a database up to date, for services that are started one by one. "
        "`up` does this by itself.",
    )
    _add_database(migrate, "the database")
    migrate.set_defaults(run=_migrate)
    return parser


def _add_database(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--database",
        metavar="URL",
        default=os.environ.get("WORKFLOW_RUNNER_DATABASE"),
        help=f"{what}: postgresql://owner:password@host/name, where the owner may create tables and roles; "
        "better set as WORKFLOW_RUNNER_DATABASE, since others can read a command line",
    )


def _add_data_dir(parser: argparse.ArgumentParser) -> None:
    default = default_directory()
    parser.add_argument(
        "--data-dir", metavar="DIR", type=Path, default=default, help="where everything is kept (default: %(default)s)"
    )


if __name__ == "__main__":
    sys.exit(main())
