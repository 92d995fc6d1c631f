"""What every program we start has in common: it goes when we go, and it does not inherit what is ours.

It is started through `launcher.py`. Python could do the same between the fork and the start of the program, but there
the fork handlers of libraries run, in a copy of a process whose threads are gone: those of gRPC abort the child, which
looks as if the program itself had failed, and cut the connections of the parent.
"""

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from services.standalone.accounts import Account

_LAUNCHER = Path(__file__).with_name("launcher.py")


def child_command(
    command: Sequence[str],
    *,
    ends_with: signal.Signals,
    account: Account | None = None,
    shown: Sequence[Path] = (),
    low_ports: bool = False,
    umask: int = 0o077,
) -> list[str]:
    """Gives the command line of a program that gets a signal when this process is gone.

    The child must be started from the main thread: the kernel takes the end of the starting thread for the end of the
    parent. What the child starts itself does not inherit the wish, so runs of jobs stay. Root may name an account to
    run it under, with the paths that it must reach; with `low_ports` it may listen at ports below 1024.
    `umask` is taken from the modes of what it makes.
    """
    wish = {
        "signal": int(ends_with),
        "parent": os.getpid(),
        "account": (account.user, account.group) if account is not None and os.geteuid() == 0 else None,
        "groups": account.groups if account is not None else (),
        "umask": umask,
        "shown": [str(path.absolute()) for path in shown],
        "low_ports": low_ports,
    }
    return [sys.executable, "-I", "-S", str(_LAUNCHER), json.dumps(wish), *command]


def plain_environment() -> dict[str, str]:
    """Gives what a program that reads no settings of ours needs from the environment."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
