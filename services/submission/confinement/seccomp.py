"""Which calls of the kernel what we run for others may not make, as a filter that the kernel holds it to.

The filter is a list of what is refused: what a step needs is not ours to know, what no step needs is. Refused is what
reaches parts of the kernel with a history of holes, what namespaces do not hold, and what would take the sandbox apart.
Programs are told that a call is not permitted or not there, and go on without it, as they do on other machines. Calls
that are younger than this list are not there either, nor are those of other architectures that the kernel also answers.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Mapping, Sequence

# Load, compare and return, as in <linux/bpf_common.h>; what is looked at is struct seccomp_data.
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
ALLOW = 0x7FFF0000
ERRNO = 0x00050000
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000
LAST_KNOWN = 469
"""The youngest call this list was held against, file_setattr of Linux 6.17."""

_NOWHERE = -1
"""In place of the number of a call that an architecture does not have."""
NOT_THERE: Mapping[str, tuple[int, int]] = {
    # Programs fall back to calls that are looked at: libuv from io_uring, the C library from clone3, whose flags lie in
    # memory that a filter cannot read.
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "clone3": (435, 435),
    "memfd_secret": (447, 447),
}
NOT_PERMITTED: Mapping[str, tuple[int, int]] = {
    "unshare": (272, 97),
    "setns": (308, 268),
    "chroot": (161, 51),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "userfaultfd": (323, 282),
    "fanotify_init": (300, 262),
    "open_by_handle_at": (304, 265),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "iopl": (172, _NOWHERE),
    "ioperm": (173, _NOWHERE),
    "modify_ldt": (154, _NOWHERE),
    "uselib": (134, _NOWHERE),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "lookup_dcookie": (212, 18),
    # The engine and the steps are one user: without these a step could still take the engine over or read its memory.
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
}
PROGRAMS: Mapping[str, tuple[int, int]] = {
    "execve": (59, 221),
    "execveat": (322, 281),
    "socket": (41, 198),
    "socketpair": (53, 199),
}
"""What a process that only computes has no use for either."""
_CLONE, _SOCKET, _SOCKETPAIR, _IOCTL = (56, 220), (41, 198), (53, 199), (16, 29)

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
NEW_NAMESPACES = 0x7E020000
"""Every CLONE_NEW… flag that clone() knows."""
TIOCSTI, TIOCLINUX = 0x5412, 0x541C

Instruction = tuple[int, int, int, int]


class UnknownProcessorError(Exception):
    """There is no filter for this kind of processor; the message names it."""


def instructions(machine: str, *, refused: Mapping[str, tuple[int, int]] = {}) -> list[Instruction]:
    """Gives the filter for a kind of processor; `refused` are more calls that are not permitted."""
    if machine not in ARCHITECTURES:
        raise UnknownProcessorError(f"There is no filter of kernel calls for processors of the kind {machine}.")
    column = list(ARCHITECTURES).index(machine)
    absent, forbidden = ERRNO | errno.ENOSYS, ERRNO | errno.EPERM
    made: list[Instruction] = [
        _load(_ARCHITECTURE),
        (_EQUAL, 1, 0, ARCHITECTURES[machine]),
        _return(absent),
        _load(_NUMBER),
        # The other calls of x86-64, those of x32, have the same architecture and a bit in their number.
        (_AT_LEAST, 0, 1, LAST_KNOWN + 1),
        _return(absent),
    ]
    for table, outcome in ((NOT_THERE, absent), (NOT_PERMITTED, forbidden), (refused, forbidden)):
        for numbers in table.values():
            if numbers[column] != _NOWHERE:
                made += [(_EQUAL, 0, 1, numbers[column]), _return(outcome)]
    families = [_load(_argument(0))]
    families += [(_EQUAL, more, 0, family) for more, family in ((4, AF_UNIX), (3, AF_INET), (2, AF_INET6))]
    families += [(_EQUAL, 2, 0, AF_NETLINK), _return(ERRNO | errno.EAFNOSUPPORT), _return(ALLOW)]
    # Of the kernel's own sockets only the one that tells of addresses, which looking up names needs.
    families += [_load(_argument(2)), (_EQUAL, 1, 0, 0), _return(ERRNO | errno.EPROTONOSUPPORT), _return(ALLOW)]
    for call in (_SOCKET, _SOCKETPAIR):
        made += _only_for(call[column], families)
    made += _only_for(_CLONE[column], [_load(_argument(0)), (_ANY_BIT, 0, 1, NEW_NAMESPACES), _return(forbidden)])
    terminal = [_load(_argument(1)), (_EQUAL, 1, 0, TIOCSTI), (_EQUAL, 0, 1, TIOCLINUX), _return(forbidden)]
    made += _only_for(_IOCTL[column], terminal)
    return [*made, _return(ALLOW)]


def program(*, refused: Mapping[str, tuple[int, int]] = {}) -> bytes:
    """Gives the filter for this machine as the kernel and bubblewrap read it. Raises UnknownProcessorError."""
    found = instructions(platform.machine(), refused=refused)
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in found)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def load(compiled: bytes) -> None:
    """Has the kernel hold this thread, and all it starts, to a filter for good; privileges must be given up before."""
    filtering = _Program(len(compiled) // 8, compiled)
    libc = ctypes.CDLL(None, use_errno=True)
    nothing = ctypes.c_ulong(0)
    if (
        libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.byref(filtering), nothing, nothing)
        != 0
    ):
        number = ctypes.get_errno()
        raise OSError(number, f"PR_SET_SECCOMP: {os.strerror(number)}")


def _argument(number: int) -> int:
    # The lower half, which is what the kernel looks at of a flag word; both processors write it first.
    return _ARGUMENTS + 8 * number


def _load(offset: int) -> Instruction:
    return (_LOAD, 0, 0, offset)


def _return(outcome: int) -> Instruction:
    return (_RETURN, 0, 0, outcome)


def _only_for(number: int, body: Sequence[Instruction]) -> list[Instruction]:
    """Looks at the arguments of one call; what comes after finds the number loaded again."""
    return [(_EQUAL, 0, len(body) + 1, number), *body, _load(_NUMBER)]
