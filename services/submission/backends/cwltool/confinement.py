"""What a process does to itself before it runs the work of others: enter namespaces, give up rights, accept limits.

Only the standard library and libc are used here, since everything runs between a fork and the work itself.
"""

import contextlib
import ctypes
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from services.submission.confinement import seccomp

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
CAPABILITY_VERSION_3 = 0x20080522
LAST_CAPABILITY = 63

USER_NAMESPACE = 0x10000000
ALL_NAMESPACES = (
    USER_NAMESPACE
    | 0x00020000  # mount
    | 0x20000000  # pid
    | 0x40000000  # network
    | 0x08000000  # ipc
    | 0x04000000  # uts
    | 0x02000000  # cgroup
)

WORKER_ID = 1000
"""The user and the group the work runs as, inside its user namespace."""

PROCESSES_OF_THE_ENGINE = 32
"""Threads and processes the engine itself needs beside those of the steps."""


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilitySets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _prctl(option: int, argument: int = 0) -> int:
    zero = ctypes.c_ulong(0)
    return int(_libc().prctl(option, ctypes.c_ulong(argument), zero, zero, zero))


def end_with_parent(parent: int) -> None:
    """Has the kernel kill this process when its parent ends; ends it at once when the parent is already gone."""
    _check(_prctl(PR_SET_PDEATHSIG, signal.SIGKILL), "PR_SET_PDEATHSIG")
    if os.getppid() != parent:
        os._exit(1)


def enter_namespaces(pidfd: int) -> None:
    """Moves this process into all namespaces of another; its children are born in the other's pid namespace."""
    _check(_libc().setns(pidfd, ALL_NAMESPACES), "setns")


def forbid_user_namespaces(pidfd: int) -> None:
    """Has the kernel refuse further user namespaces inside that of another process, where /proc/sys can be written.

    It is one wall more, not one that the others lean on. The limit is that of the namespace of whoever opens its file,
    so a child goes there to do it.
    """
    child = os.fork()
    if child == 0:
        try:
            _check(_libc().setns(pidfd, USER_NAMESPACE), "setns")
            with open("/proc/sys/user/max_user_namespaces", "w") as limit:
                limit.write("0")
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def drop_privileges() -> None:
    """Becomes the worker user, and gives up every capability and what the filter of kernel calls refuses, for good."""
    for capability in range(LAST_CAPABILITY + 1):
        if _prctl(PR_CAPBSET_DROP, capability) != 0:
            break
    if os.getuid() != WORKER_ID:
        os.setgroups([])
        os.setresgid(WORKER_ID, WORKER_ID, WORKER_ID)
        os.setresuid(WORKER_ID, WORKER_ID, WORKER_ID)
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = _CapabilityHeader(CAPABILITY_VERSION_3, 0)
    _check(_libc().capset(ctypes.byref(header), (_CapabilitySets * 2)()), "capset")
    _check(_prctl(PR_SET_NO_NEW_PRIVS, 1), "PR_SET_NO_NEW_PRIVS")
    seccomp.load(seccomp.program())
    # A change of user hides /proc/self from its own process, and subprocess needs it to close descriptors.
    _prctl(PR_SET_DUMPABLE, 1)


def limit_resources(*, output_bytes: int, processes: int) -> None:
    """Accepts the limits that need no control group; what this process starts inherits them."""
    for kind, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, output_bytes),
        (resource.RLIMIT_NPROC, processes + PROCESSES_OF_THE_ENGINE),
        (resource.RLIMIT_NOFILE, 4096),
    ):
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def limit_address_space(pid: int, size_bytes: int) -> None:
    """Limits the memory of one process and of what it starts from now on; a process that ended is left alone."""
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_AS, (size_bytes, size_bytes))


def synchronize(directory: Path) -> None:
    """Returns when everything written to the file system of a directory so far is on its disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _check(_libc().syncfs(descriptor), "syncfs")
    finally:
        os.close(descriptor)


def close_all_but(kept: set[int]) -> None:
    """Closes every open descriptor except those given."""
    for descriptor in [int(name) for name in os.listdir("/proc/self/fd")]:
        if descriptor not in kept:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def status_of(wait_status: int) -> int:
    """The exit code of a process as a shell shows it: 128 and the number of the signal when one ended it."""
    code = os.waitstatus_to_exitcode(wait_status)
    return code if code >= 0 else 128 - code


def fork_into(pidfd: int, work: Callable[[], int]) -> int:
    """Runs `work` in a child inside the namespaces of another process, and returns its exit status in this one.

    Called in a process of its own: it ends up inside the namespaces too, all but the pid namespace.
    """
    enter_namespaces(pidfd)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = work()
        except Exception:  # noqa: BLE001 - a child has nobody to raise to
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return status_of(os.waitpid(child, 0)[1])
