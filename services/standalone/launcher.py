"""Becomes another program, under an account, that gets a signal when its parent ends. See `children.py`.

python -I -S launcher.py SIGNAL PARENT USER:GROUP|- PROGRAM ARGUMENT…
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def launch(arguments: list[str]) -> None:
    """Does what the command line says; returns only when the parent is gone."""
    how, parent, owner, *command = arguments
    os.umask(0o077)
    if owner != "-":
        user, group = map(int, owner.split(":"))
        os.setgroups([])
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
    # A change of user takes the wish back, so it comes after.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(how), 0, 0, 0)
    if os.getppid() == int(parent):
        try:
            os.execvpe(command[0], command, os.environ)  # noqa: S606 - this is what it is for
        except OSError as error:
            sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    launch(sys.argv[1:])
    sys.exit(1)
