"""The filter of kernel calls, run as the kernel runs it, for both kinds of processor."""

import ctypes
import ctypes.util
import errno
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from services.submission.confinement import seccomp
from services.submission.confinement.seccomp import ALLOW, ARCHITECTURES, ERRNO, UnknownProcessorError, instructions

FORBIDDEN, ABSENT = ERRNO | errno.EPERM, ERRNO | errno.ENOSYS
COLUMNS = {machine: number for number, machine in enumerate(ARCHITECTURES)}
CALLS = {"clone": (56, 220), "socket": (41, 198), "socketpair": (53, 199), "ioctl": (16, 29)}
ORDINARY = {"read": (0, 63), "openat": (257, 56), "execve": (59, 221), "mmap": (9, 222), "futex": (202, 98),
    "prlimit64": (302, 261), "seccomp": (317, 277), "setresuid": (117, 147), "connect": (42, 203), "kill": (62, 129),
    "pidfd_open": (434, 434), "set_mempolicy": (238, 237), "statx": (332, 291), "openat2": (437, 437)}  # fmt: skip


def outcome(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the kernel does with a call."""
    words = {0: number, 4: ARCHITECTURES[machine] if architecture is None else architecture}
    words |= {16 + 8 * place: value for place, value in enumerate((*arguments, 0, 0, 0, 0, 0, 0))}
    program, place, accumulator = instructions(machine), 0, 0
    while True:
        code, yes, no, k = program[place]
        place += 1
        match code:
            case 0x20:
                accumulator = words[k]
            case 0x06:
                return k
            case 0x15:
                place += yes if accumulator == k else no
            case 0x35:
                place += yes if accumulator >= k else no
            case 0x45:
                place += yes if accumulator & k else no
            case _:
                raise AssertionError(code)


def of(machine: str, call: str, *arguments: int) -> int:
    return outcome(machine, CALLS[call][COLUMNS[machine]], *arguments)


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_what_is_refused_is_refused_and_what_is_ordinary_is_not(machine: str) -> None:
    column = COLUMNS[machine]
    refused = {FORBIDDEN: seccomp.NOT_PERMITTED, ABSENT: seccomp.NOT_THERE, ALLOW: ORDINARY}

    for expected, table in refused.items():
        found = {name: outcome(machine, numbers[column]) for name, numbers in table.items() if numbers[column] >= 0}
        assert dict.fromkeys(found, expected) == found


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_only_sockets_of_the_machine_and_of_the_internet_are_made(machine: str) -> None:
    def families() -> Iterator[int]:
        for family in range(64):
            if of(machine, "socket", family, 1, 0) == ALLOW:
                yield family

    assert [1, 2, 10, 16] == list(families())
    assert ERRNO | errno.EAFNOSUPPORT == of(machine, "socket", 40, 1, 0)
    assert ERRNO | errno.EAFNOSUPPORT == of(machine, "socketpair", 40, 1, 0)
    assert ERRNO | errno.EPROTONOSUPPORT == of(machine, "socket", 16, 3, 12)
    assert ALLOW == of(machine, "socketpair", 1, 1, 0)


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_processes_and_threads_are_made_but_no_namespaces(machine: str) -> None:
    thread, process = 0x003D0F00, 0x01200011
    spaces = [0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000]

    assert [ALLOW, ALLOW] == [of(machine, "clone", flags) for flags in (thread, process)]
    assert {FORBIDDEN} == {of(machine, "clone", flag | 17) for flag in spaces}


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_nothing_is_typed_into_a_terminal(machine: str) -> None:
    assert [FORBIDDEN, FORBIDDEN, ALLOW] == [of(machine, "ioctl", 0, request) for request in (0x5412, 0x541C, 0x5413)]


@pytest.mark.parametrize("machine", ARCHITECTURES)
@pytest.mark.parametrize("number", [0x40000000, 0x40000000 | 41, 0x40000000 | 321, 0xFFFFFFFF, 470, 1000])
def test_calls_of_another_kind_or_of_a_later_day_are_not_there(machine: str, number: int) -> None:
    assert ABSENT == outcome(machine, number)


@pytest.mark.parametrize("machine", ARCHITECTURES)
@pytest.mark.parametrize("architecture", [0x40000003, 0x40000028, 0, 0xC00000F3])
def test_calls_of_another_architecture_are_not_there(machine: str, architecture: int) -> None:
    assert {ABSENT} == {outcome(machine, number, architecture=architecture) for number in range(480)}


def test_no_jump_is_longer_than_the_kernel_knows() -> None:
    for machine in ARCHITECTURES:
        program = instructions(machine, refused=seccomp.PROGRAMS)
        assert len(program) < 4096
        assert max(max(yes, no) for _, yes, no, _ in program) < 256


def test_another_processor_is_named() -> None:
    with pytest.raises(UnknownProcessorError, match="riscv64"):
        instructions("riscv64")


@pytest.mark.skipif(ctypes.util.find_library("seccomp") is None, reason="libseccomp, which knows them all, is not here")
def test_the_numbers_are_those_of_the_library_for_them() -> None:
    library = ctypes.CDLL(ctypes.util.find_library("seccomp"))
    library.seccomp_syscall_resolve_name_arch.argtypes = (ctypes.c_uint32, ctypes.c_char_p)
    tables = {**seccomp.NOT_THERE, **seccomp.NOT_PERMITTED, **seccomp.PROGRAMS, **CALLS, **ORDINARY}

    wrong = {
        name: (numbers[column], found)
        for name, numbers in tables.items()
        for machine, column in COLUMNS.items()
        if (found := library.seccomp_syscall_resolve_name_arch(ARCHITECTURES[machine], name.encode())) != -1
        and max(found, -1) != numbers[column]
    }

    assert {} == wrong


def test_programs_that_were_loaded_hold() -> None:
    code = """if True:
        import json, os, socket, ctypes
        from services.submission.confinement import seccomp
        ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)
        seccomp.load(seccomp.program(refused=seccomp.PROGRAMS))
        def tried(action, *arguments):
            try:
                action(*arguments)
            except OSError as error:
                return error.errno
        print(json.dumps([
            tried(os.execv, "/bin/true", ["true"]),
            tried(socket.socket, socket.AF_INET),
            tried(os.getppid),
            [line.split()[1] for line in open("/proc/self/status") if line.startswith("Seccomp:")],
        ]))
    """
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert [errno.EPERM, errno.EPERM, None, ["2"]] == json.loads(shown)
