"""The network of a job: one of its own, from which nothing near is reached."""

import ipaddress
import json
import socket
import textwrap
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from services.submission.backends import Limits, RunState
from services.submission.backends.cwltool import Cwltool, network
from services.submission.backends.cwltool.network import denied, find_helper
from tests.backend_runs import Ended, keep_inputs, python_tool, run, shell_tool

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADDRESS = next((address for address in network._own_addresses() if not address.startswith("127.")), "")
OPENED = [f"{ADDRESS}/32"] if ADDRESS else []
LACKS = find_helper()[1] or ("" if ADDRESS else "this machine has no address but those of its loopback")
needs_helper = pytest.mark.skipif(bool(LACKS), reason=LACKS)
ASKS = "{NetworkAccess: {networkAccess: true}}"
GRANTED = Limits(network=True)
OUT = "{facts: {type: File, outputBinding: {glob: facts.json}}}"
LOOK = """
    import errno, json, socket
    def tried(host, port):
        try:
            socket.create_connection((host, port), timeout=5).close()
        except OSError as error:
            return errno.errorcode.get(error.errno, repr(error))
    facts = {
        'interfaces': sorted(name for _, name in socket.if_nameindex()),
        'tried': [tried(*place) for place in PLACES],
        'resolver': open('/etc/resolv.conf').read(),
        'hosts': open('/etc/hosts').read(),
    }
    with open('facts.json', 'w') as file:
        json.dump(facts, file)
"""


def look(*places: tuple[str, int]) -> bytes:
    return python_tool(textwrap.dedent(LOOK).replace("PLACES", repr(places)), outputs=OUT, requirements=ASKS)


def facts_of(ended: Ended) -> Any:
    assert ended.state is RunState.successful, (ended.last, ended.logs)
    return json.loads(ended.text("facts"))


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a server at every address of this machine."""
    with socket.create_server(("0.0.0.0", 0)) as server:
        yield server.getsockname()[1]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["warm", "cold"])
async def backend(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> AsyncIterator[Cwltool]:
    directory = tmp_path_factory.mktemp("runs")
    async with Cwltool.open(
        directory,
        keep_inputs,
        fork_server=request.param == "warm",
        private_networks=OPENED,
    ) as opened:
        yield opened


@needs_helper
async def test_only_public_addresses_and_what_is_opened_are_reached(backend: Cwltool, port: int) -> None:
    near = ["10.0.0.1", "100.64.0.1", "100.100.100.200", "169.254.169.254", "168.63.129.16", "172.16.0.1",
        "192.168.1.1", "192.0.0.192", "198.18.0.1", "fd00:ec2::254", "fe80::1", "::ffff:10.0.0.1"]  # fmt: skip
    around = ["127.0.0.1", "::1", "198.18.78.2", "0.0.0.0"]

    places = [(host, port) for host in (ADDRESS, *near, *around)]
    facts = facts_of(await run(backend, look(*places), limits=GRANTED))

    assert facts["tried"][0] is None
    assert {"EHOSTUNREACH", "ENETUNREACH", "EINVAL"} >= set(facts["tried"][1 : 1 + len(near)])
    assert {"ECONNREFUSED", "ENETUNREACH", "EADDRNOTAVAIL"} >= set(facts["tried"][1 + len(near) :])
    assert ["lo", "tap0"] == facts["interfaces"]
    assert "nameserver 198.18.78.3\n" == facts["resolver"]
    assert "127.0.0.1 localhost\n::1 localhost\n" == facts["hosts"]


@needs_helper
async def test_the_machine_itself_is_not_reached_unless_it_is_opened(tmp_path: Path, port: int) -> None:
    async with Cwltool.open(tmp_path, keep_inputs, fork_server=False) as backend:
        facts = facts_of(await run(backend, look((ADDRESS, port)), limits=GRANTED))

    assert ["EHOSTUNREACH"] == facts["tried"]


@needs_helper
async def test_a_step_cannot_change_where_its_packets_go(backend: Cwltool) -> None:
    code = """
        import errno, json, socket, struct
        kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        route = struct.pack('=BBBBBBBBI', 2, 8, 0, 0, 254, 4, 0, 1, 0)
        route += struct.pack('=HH4s', 8, 1, bytes([10, 0, 0, 0]))
        for kind, flags in ((24, 0x405), (25, 0x5)):
            kernel.send(struct.pack('=IHHII', 16 + len(route), kind, flags, 1, 0) + route)
            assert struct.unpack_from('=i', kernel.recv(8192), 16)[0] == -errno.EPERM
    """

    ended = await run(backend, python_tool(textwrap.dedent(code), requirements=ASKS), limits=GRANTED)

    assert ended.state is RunState.successful, ended.logs


@needs_helper
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
async def test_nothing_of_a_network_is_left_behind(tmp_path: Path, warm: bool) -> None:
    def helpers(first: str) -> set[str]:
        found = set()
        for status in Path("/proc").glob("[0-9]*/comm"):
            try:
                name, command = status.read_text().strip(), status.with_name("cmdline").read_text()
            except OSError:
                continue
            # Other tests have helpers too; the process that one was started for is among its arguments.
            if name == network.HELPER and first in command.split("\0"):
                found.add(status.parent.name)
        return found

    async with Cwltool.open(tmp_path, keep_inputs, fork_server=warm) as backend:
        ended = await run(backend, shell_tool("exit 3", requirements=ASKS), limits=GRANTED)
        (record,) = tmp_path.glob("*/sandbox.json")
        first = str(json.loads(record.read_bytes())["pid"])
        await backend.dismiss(ended.handle)

        assert set() == helpers(first)


@pytest.mark.parametrize(("asks", "limits"), [(True, Limits()), (False, GRANTED)])
async def test_a_job_has_a_network_only_when_it_asks_and_may(backend: Cwltool, asks: bool, limits: Limits) -> None:
    code = "import socket; assert ['lo'] == [name for _, name in socket.if_nameindex()]"

    ended = await run(backend, python_tool(code, requirements=ASKS if asks else "{}"), limits=limits)

    assert ended.state is RunState.successful, ended.logs


async def test_without_a_helper_jobs_have_no_network_and_are_told_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "HELPER", "a-program-that-is-not-there")
    async with Cwltool.open(tmp_path, keep_inputs, fork_server=False) as backend:
        assert "a-program-that-is-not-there is not installed" == backend.network_lacks

        ended = await run(backend, shell_tool("exit 6", requirements=ASKS), limits=GRANTED)

    assert (
        "Step main ended with exit code 6. The package asks for the network, and this installation has none to give: "
        "a-program-that-is-not-there is not installed; the operator can see to it."
    ) == ended.failure.message


async def test_an_opened_network_is_taken_out_of_what_is_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_own_addresses", lambda: ["8.8.4.4", "10.1.2.3"])
    opened = [ipaddress.IPv4Network("10.1.0.0/16"), ipaddress.IPv4Network("192.168.0.0/16")]

    found = {str(network) for network in denied(opened)}

    assert {"10.0.0.0/8", "8.8.4.4/32", "169.254.0.0/16"} <= found
    assert not {"10.1.2.3/32", "192.168.0.0/16"} & found


async def test_addresses_of_this_machine_are_known() -> None:
    assert {"127.0.0.1"} <= set(network._own_addresses())
