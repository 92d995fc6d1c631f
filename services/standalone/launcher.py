"""Becomes another program, under an account, that gets a signal when its parent ends. See `children.py`.

python -I -S launcher.py '{"signal": 9, "parent": 1, "account": [60879, 60879], "shown": ["/root/x"]}' PROGRAM ARGUMENT…
"""

import ctypes
import json
import os
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 47, 2
CAP_NET_BIND_SERVICE = 10
CAPABILITY_VERSION_3 = 0x20080522
CLONE_NEWNS = 0x00020000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 0x2, 0x4, 0x1000, 0x4000, 0x40000

libc = ctypes.CDLL(None, use_errno=True)


def launch(wish: str, command: list[str]) -> None:
    """Does what was wished for, and becomes the program; returns only when the parent is gone."""
    wanted = json.loads(wish)
    os.umask(0o077)
    if wanted["account"] is not None and uncover(wanted["shown"]):
        become(*wanted["account"], groups=wanted["groups"], low_ports=wanted["low_ports"])
    os.umask(wanted["umask"])
    # A change of user takes the wish back, so it comes after.
    libc.prctl(PR_SET_PDEATHSIG, wanted["signal"], 0, 0, 0)
    if os.getppid() == wanted["parent"]:
        try:
            os.execvpe(command[0], command, os.environ)  # noqa: S606 - this is what it is for
        except OSError as error:
            sys.exit(f"{command[0]}: {error.strerror}")


def uncover(shown: Sequence[str]) -> bool:
    """Makes paths reachable for an account that may not enter a directory on the way to them, and for nobody else.

    In a view of its own such a directory is covered with an empty one, in which the paths stand again. Says whether
    they are reachable.
    """
    closed: dict[str, list[str]] = {}
    for path in shown:
        if (top := closed_directory(path)) is not None:
            closed.setdefault(top, []).append(path)
    if not closed:
        return True
    try:
        check(libc.unshare(CLONE_NEWNS))
        mount(None, "/", None, MS_REC | MS_PRIVATE)
        os.umask(0o022)
        for top, paths in closed.items():
            held = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in paths}
            mount("tmpfs", top, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m")
            for path, descriptor in held.items():
                place(path, is_directory=os.path.isdir(f"/proc/self/fd/{descriptor}"))
                mount(f"/proc/self/fd/{descriptor}", path, None, MS_BIND | MS_REC)
        os.umask(0o077)
    except OSError as error:
        print(f"WARNING: this goes on as root, since {', '.join(closed)} cannot be uncovered: {error}", file=sys.stderr)  # noqa: T201
        return False
    return True


def closed_directory(path: str) -> str | None:
    """The first directory on the way to a path that not everybody may enter."""
    place = "/"
    for part in os.path.dirname(path).split("/"):
        place = os.path.join(place, part)
        if not os.stat(place).st_mode & 0o001:
            return place
    return None


def place(path: str, *, is_directory: bool) -> None:
    """Makes what something can be mounted on."""
    os.makedirs(path if is_directory else os.path.dirname(path), exist_ok=True)
    if not is_directory:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC))


def become(user: int, group: int, *, groups: Sequence[int], low_ports: bool) -> None:
    """Gives up root for good; what is kept on request is the right to listen at a port below 1024."""
    libc.prctl(PR_SET_KEEPCAPS, int(low_ports), 0, 0, 0)
    os.setgroups(groups)
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
    if low_ports:
        header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
        right = 1 << CAP_NET_BIND_SERVICE
        check(libc.capset(header, (ctypes.c_uint32 * 6)(right, right, right)))
        check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0))
    check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """Calls mount(2)."""
    texts = [text if text is None else os.fsencode(text) for text in (source, target, kind, options)]
    check(libc.mount(texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3]))


def check(result: int) -> None:
    """Raises what the C library has to say."""
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    launch(sys.argv[1], sys.argv[2:])
    sys.exit(1)
