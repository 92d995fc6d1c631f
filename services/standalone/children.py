"""What every program we start has in common: it goes when we go, and it does not inherit what is ours."""

import ctypes
import os
import signal
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def ends_with_parent(how: signal.Signals) -> Callable[[], None]:
    """Makes a `preexec_fn` that has the kernel send a signal to the child when this process is gone.

    The child must be started from the main thread: the kernel takes the end of the starting thread for the end of the
    parent. What the child starts itself does not inherit the wish, so runs of jobs stay.
    """
    parent = os.getpid()

    def ask() -> None:
        os.umask(0o077)
        _libc.prctl(_PR_SET_PDEATHSIG, int(how), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return ask


def plain_environment() -> dict[str, str]:
    """Gives what a program that reads no settings of ours needs from the environment."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
