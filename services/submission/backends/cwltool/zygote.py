"""The fork server: a process with the engine loaded and warm, which becomes the supervisor of a run by forking.

It takes orders from the service over one socket and looks at no document itself. When the socket closes it ends; the
supervisors it forked go on.
"""

import contextlib
import gc
import os
import signal
import socket
import sys
import traceback
from functools import partial
from pathlib import Path

from .supervisor import start_warm, supervise
from .worker import warm, work

LARGEST_ORDER = 4096


def serve(control: socket.socket) -> None:
    """Forks a supervisor for each order: the directory of a run, with the descriptors of its lock and of its start."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        order, descriptors, _, _ = socket.recv_fds(control, LARGEST_ORDER, 2)
        if not order:
            return
        if len(descriptors) == 2 and os.fork() == 0:
            control.close()
            _become_supervisor(Path(os.fsdecode(order)), descriptors[1])
        for descriptor in descriptors:
            os.close(descriptor)


def _become_supervisor(directory: Path, started: int) -> None:
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        supervise(directory, started, partial(start_warm, work=work))
        code = 0
    except Exception:  # noqa: BLE001 - this process has nobody to raise to
        traceback.print_exc()
    finally:
        os._exit(code)


def main(arguments: list[str]) -> None:
    """The fork server as a program of its own: the descriptor of its socket."""
    with socket.socket(fileno=int(arguments[0])) as control:
        control.set_inheritable(False)
        warm()
        # What is loaded now is never collected, so that the pages stay shared with the children.
        gc.collect()
        gc.freeze()
        with contextlib.suppress(ConnectionError, KeyboardInterrupt):
            serve(control)


if __name__ == "__main__":
    main(sys.argv[1:])
