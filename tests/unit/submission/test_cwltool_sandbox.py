"""What the work of a package sees of the machine: nothing that is not its own."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

import services
from services.submission.backends import RunState
from services.submission.backends.cwltool import Cwltool, SandboxUnavailableError
from services.submission.backends.cwltool.machine import Machine
from services.submission.confinement import seccomp
from tests.backend_runs import Ended, keep_inputs, path_of, python_tool, run

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOOK = """
    import ctypes, json, os, socket
    status = dict(line.split(':', 1) for line in open('/proc/self/status').read().splitlines())
    def tries(action, *arguments):
        try:
            return repr(action(*arguments))
        except OSError as error:
            return type(error).__name__
    descriptors = ['/proc/self/fd/' + name for name in os.listdir('/proc/self/fd')]
    targets = ['/x', '/usr/x', '/etc/passwd', '/dev/x', '/proc/sys/kernel/hostname', json.__file__]
    facts = {
        'uid': os.getuid(), 'groups': os.getgroups(), 'pid': os.getpid(),
        'capabilities': [status[name].strip() for name in ('CapInh', 'CapPrm', 'CapEff', 'CapAmb')],
        'no new privileges': status['NoNewPrivs'].strip(),
        'filter of kernel calls': status['Seccomp'].strip(),
        'environment': dict(os.environ),
        'root': sorted(os.listdir('/')),
        'etc': sorted(os.listdir('/etc')),
        'interfaces': [name for _, name in socket.if_nameindex()],
        'processes': sorted(int(name) for name in os.listdir('/proc') if name.isdigit()),
        'descriptors': sorted(os.readlink(path) for path in descriptors if os.path.lexists(path)),
        'hostname': socket.gethostname(),
        'passwd': open('/etc/passwd').read(),
        'writes': {path: tries(open, path, 'w') for path in targets},
        'listings': {path: tries(os.listdir, path) for path in PLACES},
        'user namespace': ctypes.CDLL(None).unshare(0x10000000),
        'become root': tries(os.setuid, 0),
        'chroot': tries(os.chroot, '/usr'),
        'signal the init': tries(os.kill, 1, 9),
    }
    with open('facts.json', 'w') as file:
        json.dump(facts, file)
"""


def look(*places: Path) -> bytes:
    code = textwrap.dedent(LOOK).replace("PLACES", repr([str(path) for path in places]))
    return python_tool(code, outputs="{facts: {type: File, outputBinding: {glob: facts.json}}}")


def facts_of(ended: Ended) -> dict[str, Any]:
    assert ended.state is RunState.successful, (ended.last, ended.logs)
    found: dict[str, Any] = json.loads(ended.text("facts"))
    return found


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a service keeps things that no job may see, its runs among them."""
    directory = tmp_path_factory.mktemp("data")
    (directory / "key.pem").write_text("secret")
    return directory


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["warm", "cold"])
async def backend(data_dir: Path, request: pytest.FixtureRequest) -> AsyncIterator[Cwltool]:
    runs_dir = data_dir / f"runs-{request.param}"
    async with Cwltool.open(runs_dir, keep_inputs, fork_server=request.param == "warm") as opened:
        yield opened


async def test_the_work_has_no_rights_no_network_and_no_sight_of_the_machine(
    backend: Cwltool, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "secret")

    ended = await run(backend, look(data_dir, Path("/etc/ssh"), Path("/sys"), Path("/run"), Path("/var/lib")))
    facts = facts_of(ended)

    assert facts["uid"] == 1000
    assert facts["capabilities"] == ["0" * 16] * 4
    assert facts["no new privileges"] == "1"
    assert facts["filter of kernel calls"] == "2"
    assert facts["interfaces"] == ["lo"]
    assert facts["hostname"] == "job"
    assert set(facts["environment"]) - {"LC_CTYPE"} == {"HOME", "LANG", "PATH", "TMPDIR"}
    assert "DATABASE_PASSWORD" not in json.dumps(facts)
    assert "shadow" not in facts["etc"]
    assert "job:x:1000" in facts["passwd"]
    assert len(facts["processes"]) < 12
    assert [what for what in facts["descriptors"] if what.startswith(("socket:", "anon_inode:"))] == []
    assert set(facts["writes"].values()) <= {"PermissionError", "OSError", "FileNotFoundError"}
    listings = list(facts["listings"].values())
    assert listings[0] == f"['{path_of(ended.outputs['facts']).parents[4].name}']"
    assert listings[1:] == ["FileNotFoundError"] * 4
    assert facts["user namespace"] == -1
    assert facts["become root"] == facts["chroot"] == "PermissionError"


CALLS = """
    import ctypes, json, platform, socket, subprocess, threading, errno
    libc = ctypes.CDLL(None, use_errno=True)
    column = ['x86_64', 'aarch64'].index(platform.machine())
    def number(*numbers):
        ctypes.set_errno(0)
        return libc.syscall(numbers[column], 0, 0, 0, 0, 0) and errno.errorcode[ctypes.get_errno()]
    def make(family):
        try:
            socket.socket(family, socket.SOCK_STREAM).close()
        except OSError as error:
            return errno.errorcode[error.errno]
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    facts = {
        'calls': [number(*numbers) for numbers in NUMBERS],
        'sockets': [make(family) for family in (socket.AF_VSOCK, 38, socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)],
        'child': subprocess.check_output(['sh', '-c', 'sleep 0 & wait; echo one'], text=True),
    }
    with open('facts.json', 'w') as file:
        json.dump(facts, file)
"""


async def test_calls_of_the_kernel_that_no_step_needs_are_refused(backend: Cwltool) -> None:
    forbidden = [numbers for numbers in seccomp.NOT_PERMITTED.values() if min(numbers) >= 0]
    numbers = [*forbidden, *seccomp.NOT_THERE.values()]
    code = textwrap.dedent(CALLS).replace("NUMBERS", repr(numbers))

    facts = facts_of(
        await run(backend, python_tool(code, outputs="{facts: {type: File, outputBinding: {glob: facts.json}}}"))
    )

    assert ["EPERM"] * len(forbidden) + ["ENOSYS"] * len(seccomp.NOT_THERE) == facts["calls"]
    assert ["EAFNOSUPPORT", "EAFNOSUPPORT", None, None, None] == facts["sockets"]
    assert "one\n" == facts["child"]


async def test_a_run_does_not_see_its_neighbors(backend: Cwltool) -> None:
    first = await run(backend, look())

    second = facts_of(await run(backend, look(path_of(first.outputs["facts"]).parents[4])))

    (listing,) = second["listings"].values()
    assert first.handle not in listing


async def test_a_machine_without_a_working_bubblewrap_is_told_what_to_do(tmp_path: Path) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)

    with pytest.raises(SandboxUnavailableError, match=r"No permissions to create new namespace.*user namespaces"):
        Machine.prepare(tmp_path / "runs", str(broken), ())


PLAIN_USER = """
import asyncio, json, sys
from pathlib import Path
from services.submission.backends.cwltool import Cwltool
from services.submission.backends import Limits
from tests.backend_runs import ECHO, keep_inputs, python_tool, run

async def main():
    readable = [Path(path) for path in json.loads(sys.argv[2])]
    for warm in (False, True):
        async with Cwltool.open(Path(sys.argv[1]), keep_inputs, fork_server=warm, readable=readable) as backend:
            ended = await run(backend, ECHO, {"message": "plain"})
            print(ended.last.failure, ended.text("said").strip())
            await backend.dismiss(ended.handle)
            nesting = python_tool("import ctypes; assert ctypes.CDLL(None).unshare(0x10000000) == -1")
            ended = await run(backend, nesting)
            print(ended.last.failure)
            await backend.dismiss(ended.handle)
            hungry = python_tool("x = bytearray(600 << 20)")
            ended = await run(backend, hungry, limits=Limits(memory_mib=128, processes=50))
            print(ended.failure.reason, ended.failure.step)
            await backend.dismiss(ended.handle)

asyncio.run(main())
"""


@pytest.mark.skipif(
    os.getuid() != 0, reason="only root can become another user, and another user runs all tests plainly"
)
async def test_a_plain_user_runs_jobs_too(tmp_path: Path) -> None:
    # The Python of the tests may be out of reach for others, so this one is made of the system's and our packages.
    system = "/usr/bin/python3"
    version = subprocess.run([system, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, text=True)
    if version.returncode != 0 or version.stdout.strip() != str(sys.version_info[:2]):
        pytest.skip("the system has no Python of the version of the tests")
    home = Path("/var/tmp") / f"plain-user-{os.getpid()}"
    home.mkdir()
    try:
        subprocess.run([system, "-m", "venv", "--without-pip", str(home / "venv")], check=True)
        packages = [path for path in sys.path if path.endswith("site-packages")]
        (product,) = {str(Path(path).parent) for path in services.__path__}
        (site,) = (home / "venv" / "lib").glob("python*/site-packages")
        (site / "tests.pth").write_text("\n".join([*packages, product]))
        (home / "main.py").write_text(PLAIN_USER)
        subprocess.run(["chown", "-R", "65534:65534", str(home)], check=True)

        found = subprocess.run(
            ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", str(home / "venv/bin/python"),
             "main.py", str(home / "runs"), json.dumps(packages)],
            cwd=home, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

        assert (found.stdout, found.returncode) == (2 * "None plain\nNone\nMEMORY_EXCEEDED main\n", 0), found.stderr
    finally:
        shutil.rmtree(home)
