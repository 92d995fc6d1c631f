"""What every program we start has in common: it goes when we go, and it does not inherit what is ours.

It is started through `launcher.py`. Python could do the same between the fork and the start of the program, but there
the fork handlers of libraries run, in a copy of a process whose threads are gone: those of gRPC abort the child, which
looks as if the program itself had failed, and cut the connections of the parent.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from services.standalone.accounts import Account

_LAUNCHER = Path(__file__).with_name("launcher.py")


def child_command(command: Sequence[str], *, ends_with: signal.Signals, account: Account | None = None) -> list[str]:
    """Gives the command line of a program that gets a signal when this process is gone.

    The child must be started from the main thread: the kernel takes the end of the starting thread for the end of the
    parent. What the child starts itself does not inherit the wish, so runs of jobs stay. Root may name an account.
    """
    owner = f"{account.user}:{account.group}" if account is not None and os.geteuid() == 0 else "-"
    return [sys.executable, "-I", "-S", str(_LAUNCHER), str(int(ends_with)), str(os.getpid()), owner, *command]


def plain_environment() -> dict[str, str]:
    """Gives what a program that reads no settings of ours needs from the environment."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
