"""A warm process that forks one child for each package.

Loading the CWL library takes half a second, reading a package with it some milliseconds. So one process loads it, reads
a few documents of its own to fill every cache, locks itself into an empty root without network, and then only forks:
each package gets a child of its own that dies after it, with whatever the package did to it. It is started by
`reader.py` with a socket as its standard input; each message on the socket carries the descriptor of a connection to
serve.

    python -I -m services.submission.packages.nursery
"""

import contextlib
import ctypes
import gc
import os
import resource
import select
import signal
import socket
import sys
import tempfile
import time
import traceback
from typing import Any

import orjson

from services.submission.confinement import seccomp
from services.submission.packages.inspection import inspect_package
from services.submission.packages.limits import CPU_SECONDS, LENGTHS, MEMORY_BYTES, WALL_SECONDS
from services.submission.packages.refusal import Refusal

_CLONE_NEWNS, _CLONE_NEWUTS, _CLONE_NEWIPC, _CLONE_NEWUSER, _CLONE_NEWNET = (
    0x00020000,
    0x04000000,
    0x08000000,
    0x10000000,
    0x40000000,
)
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522

_EXAMPLE = """
cwlVersion: {version}
$namespaces: {{s: "https://schema.org/"}}
$schemas: ["https://schema.org/version/latest/schemaorg-current-https.rdf"]
s:softwareVersion: 1.0.0
$graph:
- class: Workflow
  id: main
  requirements:
    ScatterFeatureRequirement: {{}}
    SubworkflowFeatureRequirement: {{}}
    StepInputExpressionRequirement: {{}}
    InlineJavascriptRequirement: {{}}
  inputs: {{texts: "string[]", image: File?}}
  outputs: {{out: {{type: "File[]", outputSource: one/out}}}}
  steps:
    one:
      run: "#tool"
      scatter: text
      in: {{text: texts, mode: {{valueFrom: "$(inputs.text ? 'a' : 'b')"}}}}
      out: [{out}]
- class: CommandLineTool
  id: tool
  doc: text
  requirements:
    InlineJavascriptRequirement: {{}}
    InitialWorkDirRequirement: {{listing: [{{entryname: a, entry: "$(1 + 1)"}}]}}
  baseCommand: [cat]
  inputs:
    text: {{type: ["null", string], default: a, inputBinding: {{}}}}
    mode: {{type: {{type: enum, symbols: [a, b]}}, default: a}}
    more: {{type: {{type: record, fields: {{a: int, b: "File[]?"}}}}, default: {{a: 1}}}}
  outputs: {{out: stdout, all: {{type: Directory, outputBinding: {{glob: .}}}}}}
"""


def warm_up() -> None:
    """Reads good and bad documents of every version, so that children find all modules and schemas loaded."""
    for version in ("v1.2", "v1.1", "v1.0"):
        for out in ("out", "nothing"):
            text = _EXAMPLE.format(version=version, out=out)
            for content in (text, text.replace("cat", "{}")):
                with contextlib.suppress(Refusal):
                    inspect_package(
                        content.encode(),
                        "application/cwl+yaml",
                        workflow=None,
                        process_id="warm-up",
                        process_description=None,
                    )
        for broken in (b"{", b"{}", b"a: [\x00]", b"a: &a b", b"a: !x b", b"\xff", b"- a: b\n c: d"):
            for media_type in ("application/cwl+yaml", "application/cwl+json"):
                with contextlib.suppress(Refusal):
                    inspect_package(broken, media_type, workflow=None, process_id=None, process_description=None)


def confine() -> bool:
    """Takes files, network, programs and privileges away from this process; says whether all of it worked.

    Where the machine forbids namespaces the readers still fetch nothing: that is the work of `validation.py`. This is
    the wall behind it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    spaces = _CLONE_NEWNS | _CLONE_NEWNET | _CLONE_NEWIPC | _CLONE_NEWUTS
    confined = libc.unshare(spaces) == 0 or libc.unshare(spaces | _CLONE_NEWUSER) == 0
    try:
        empty = tempfile.mkdtemp()
        os.chdir(empty)
        os.rmdir(empty)
        os.chroot(".")
        os.chdir("/")
        # A removed directory has no path, and the CWL library asks for one to shorten names in messages.
        os.getcwd = lambda: "/"
    except OSError:
        confined = False
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    confined = libc.capset(ctypes.byref(header), ctypes.byref(nothing)) == 0 and confined
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    try:
        seccomp.load(seccomp.program(refused=seccomp.PROGRAMS))
    except (OSError, seccomp.UnknownProcessorError):
        return False
    return bool(confined)


def _answer(request: dict[str, Any], content: bytes) -> dict[str, Any]:
    try:
        return {"package": inspect_package(content, **request)}
    except Refusal as refusal:
        return {"refusal": refusal.to_dict()}
    except MemoryError:
        return {}
    except Exception:  # noqa: BLE001 - whatever it was, the service logs it and answers
        return {"broken": traceback.format_exc(limit=-5)}


def serve_one(connection: socket.socket) -> None:
    """Reads one package from a connection, under limits, and answers."""
    for limit, value in (
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(limit)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))
    with connection, connection.makefile("rb") as stream:
        header, size = LENGTHS.unpack(stream.read(LENGTHS.size))
        answer = _answer(orjson.loads(stream.read(header)), stream.read(size))
        connection.sendall(orjson.dumps(answer))


def _fork(connection: socket.socket, control: socket.socket) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        control.close()
        serve_one(connection)
        status = 0
    finally:
        # Nothing of the parent's clean-up may run twice.
        os._exit(status)


def serve(control: socket.socket) -> None:
    """Forks a child for each connection until the service goes away, and ends those that take too long."""
    deadlines: dict[int, tuple[int, float]] = {}
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll(500 if deadlines else None)}
        for watched, (child, deadline) in list(deadlines.items()):
            if watched not in ready and time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
            elif watched in ready:
                os.waitpid(child, 0)
                poll.unregister(watched)
                os.close(watched)
                del deadlines[watched]
        if control.fileno() not in ready:
            continue
        message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            return
        for descriptor in descriptors:
            with socket.socket(fileno=descriptor) as connection:
                child = _fork(connection, control)
            watched = os.pidfd_open(child)
            poll.register(watched, select.POLLIN)
            deadlines[watched] = child, time.monotonic() + WALL_SECONDS


def main() -> None:
    """Warms up, locks itself in, says so with one byte ("c" when confined) and serves."""
    control = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warm_up()
    gc.collect()
    # Frozen objects are not visited by the children's collector, so their pages stay shared.
    gc.freeze()
    # Packages are read beside jobs being accepted, which comes first.
    os.nice(5)
    # The service may have gone while this process warmed up.
    with contextlib.suppress(BrokenPipeError):
        control.sendall(b"c" if confine() else b"u")
        serve(control)


if __name__ == "__main__":
    main()
