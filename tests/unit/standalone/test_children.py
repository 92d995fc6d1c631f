"""Programs we start: what they are born with, and what their birth leaves alone."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

from services.standalone.accounts import UNOWNED_NUMBERS, Account
from services.standalone.children import child_command


class _Echo(grpc.GenericRpcHandler):
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        async def answer(request: bytes, _: object) -> bytes:
            return request

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
async def channel() -> AsyncIterator[grpc.aio.Channel]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(0)


async def test_programs_start_beside_busy_grpc_and_leave_its_connections_alone(channel: grpc.aio.Channel) -> None:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test/Echo")

    codes = []
    for _ in range(40):
        answers = [asyncio.ensure_future(call(b"x")) for _ in range(20)]
        await asyncio.sleep(0)
        child = subprocess.Popen(child_command(["/bin/true"], ends_with=signal.SIGKILL))
        assert [b"x"] * 20 == await asyncio.gather(*answers)
        codes.append(child.wait())

    assert [0] * 40 == codes


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has an account to give up")


@as_root
def test_root_gives_up_its_user_and_all_its_groups() -> None:
    account = Account(UNOWNED_NUMBERS[7], UNOWNED_NUMBERS[8])

    shown = subprocess.check_output(
        child_command(["/bin/sh", "-c", "id -u; id -g; id -G; umask"], ends_with=signal.SIGKILL, account=account)
    )

    assert [account.user, account.group, account.group, 77] == [int(number) for number in shown.split()]


@as_root
def test_an_account_reaches_what_it_is_shown_and_nothing_beside_it(tmp_path: Path) -> None:
    account = Account(UNOWNED_NUMBERS[7], UNOWNED_NUMBERS[8])
    closed = tmp_path / "closed"
    (closed / "run" / "inner").mkdir(parents=True)
    (closed / "secret").mkdir()
    for name in ("file", "other"):
        (closed / name).write_text(name)
        (closed / name).chmod(0o644)
    closed.chmod(0o700)
    script = "cd CLOSED; cat file; ls CLOSED CLOSED/run; cat other || grep -E 'Cap(Prm|Eff)' /proc/self/status"
    command = child_command(
        ["/bin/sh", "-c", script.replace("CLOSED", str(closed))],
        ends_with=signal.SIGKILL,
        account=account,
        shown=[closed / "file", closed / "run"],
    )

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert f"file{closed}:\nfile\nrun\n\n{closed}/run:\ninner\n" == done.stdout.partition("Cap")[0]
    assert 2 == done.stdout.count("0" * 16)
    assert {"file", "other", "run", "secret"} == {path.name for path in closed.iterdir()}


@as_root
def test_an_account_may_keep_the_right_to_listen_at_low_ports_and_no_other() -> None:
    account = Account(UNOWNED_NUMBERS[7], UNOWNED_NUMBERS[8])

    shown = subprocess.check_output(
        child_command(
            ["/bin/sh", "-c", "grep CapEff /proc/self/status; grep NoNew /proc/self/status"],
            ends_with=signal.SIGKILL, account=account, low_ports=True,
        ),
        text=True,
    )  # fmt: skip

    assert ["CapEff:", f"{1 << 10:016x}", "NoNewPrivs:", "1"] == shown.split()


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = subprocess.run(
        child_command([str(tmp_path / "nothing")], ends_with=signal.SIGKILL),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (1, f"{tmp_path / 'nothing'}: No such file or directory\n") == (done.returncode, done.stderr)


def test_a_program_ends_with_its_parent() -> None:
    program = """if True:
        import signal, subprocess, sys
        from services.standalone.children import child_command
        command = [sys.executable, "-S", "-c", "import sys, time; print('started', flush=True); time.sleep(60)"]
        subprocess.Popen(child_command(command, ends_with=signal.SIGKILL)).wait()
    """
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert b"started\n" == parent.stdout.readline()

    parent.kill()
    # The pipe closes when the last one who writes to it is gone.
    assert b"" == parent.stdout.read()
    parent.stdout.close()
    parent.wait()
