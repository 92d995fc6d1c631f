"""The network of a run: a namespace of its own, with a way out for what is public and none to what is near.

slirp4netns carries the packets from outside; the kernel of the run refuses the rest. Its routes lead to nowhere for
every address that the machine or its neighbors could have, and whoever runs inside has no right to change them. The
loopback device inside is the run's own. Names are looked up by the resolver of the machine, which slirp4netns asks.
"""

import contextlib
import ctypes
import ipaddress
import os
import re
import select
import shutil
import socket
import struct
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from services.submission.staging.addresses import DENIED

HELPER = "slirp4netns"
# Of the range for tests of networks, since a private one might be a network that the operator opens.
OWN = ipaddress.IPv4Network("198.18.78.0/24")
GATEWAY, RESOLVER = OWN[2], OWN[3]
DEVICE = "tap0"
TUNNELS = "/dev/net/tun"
READY_SECONDS = 10.0
END_SECONDS = 2.0
FILES = {
    "/etc/resolv.conf": f"nameserver {RESOLVER}\n",
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
}
"""What the run finds in place of the machine's own."""

_USER_AND_NETWORK = 0x10000000 | 0x40000000
_NEW_ROUTE, _ERROR = 24, 2
_REQUEST_CREATE_ACKNOWLEDGE = 0x1 | 0x400 | 0x4
_UNICAST, _UNREACHABLE = 1, 7
_MAIN_TABLE, _STATIC, _UNIVERSE = 254, 4, 0
_DESTINATION, _GATEWAY = 1, 5


@dataclass(frozen=True, kw_only=True)
class Network:
    """What a run with a network is given."""

    helper: str
    """The path of slirp4netns."""
    private: Sequence[str] = ()
    """Networks that are reached although they are not public, such as `10.1.0.0/16`."""

    def attach(
        self, first: int, pidfd: int, log: IO[bytes] | int, before: Callable[[], None] | None
    ) -> "AttachedNetwork":
        """Gives the namespace of a process its way out, and returns when that is ready. Raises OSError."""
        opened = [ipaddress.IPv4Network(network) for network in self.private]
        nowhere = denied(opened)
        ready, say_ready = os.pipe()
        end, hold = os.pipe()
        command = [
            *(self.helper, "--configure", "--mtu=65520", "--disable-host-loopback", f"--cidr={OWN}"),
            *("--enable-sandbox", "--enable-seccomp", f"--ready-fd={say_ready}", f"--exit-fd={end}"),
            *(str(first), DEVICE),
        ]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={},
                pass_fds=(say_ready, end),
                preexec_fn=before,
            )
        except OSError:
            os.close(hold)
            os.close(ready)
            raise
        finally:
            os.close(say_ready)
            os.close(end)
        attached = AttachedNetwork(process=process, hold=hold)
        try:
            if not select.select([ready], [], [], READY_SECONDS)[0] or os.read(ready, 1) != b"1":
                raise OSError(f"{HELPER} could not set up the network")
            _inside(pidfd, partial(_set_routes, nowhere, opened))
        except OSError:
            attached.end()
            raise
        finally:
            os.close(ready)
        return attached


@dataclass(frozen=True, kw_only=True)
class AttachedNetwork:
    """The way out of one run. It ends with its run, with whoever holds it, or when it is told."""

    process: subprocess.Popen[bytes]
    hold: int
    """It ends when this descriptor is closed."""

    def end(self) -> None:
        """Ends it and waits until it is gone."""
        with contextlib.suppress(OSError):
            os.close(self.hold)
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def find_helper() -> tuple[str | None, str]:
    """Where slirp4netns is, or why there is no use in it, as the end of a sentence."""
    found = shutil.which(HELPER)
    if found is None:
        return None, f"{HELPER} is not installed"
    try:
        os.close(os.open(TUNNELS, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return None, f"{TUNNELS} cannot be used ({error.strerror})"
    return found, ""


def denied(opened: Sequence[ipaddress.IPv4Network]) -> list[ipaddress.IPv4Network]:
    """The networks that lead to nowhere: what is not public, and the addresses of this machine, but what is opened."""
    near = [network for network in DENIED if isinstance(network, ipaddress.IPv4Network)]
    near += [ipaddress.IPv4Network(address) for address in _own_addresses()]
    # Where an opened network lies inside one of these, its route is the closer one.
    return [network for network in dict.fromkeys(near) if not any(network.subnet_of(wide) for wide in opened)]


def _own_addresses(table: Path = Path("/proc/self/net/fib_trie")) -> list[str]:
    return sorted(set(re.findall(r"\|-- (\S+)\n\s+/32 host LOCAL", table.read_text())))


def _inside(pidfd: int, work: Callable[[], None]) -> None:
    """Does something inside the user and the network namespace of another process, in a child."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if ctypes.CDLL(None, use_errno=True).setns(pidfd, _USER_AND_NETWORK) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            work()
        except OSError as error:
            os.write(tell, str(error).encode()[:4000])
            os._exit(1)
        finally:
            os._exit(0)
    os.close(tell)
    with open(told, "rb") as sentence:
        said = sentence.read().decode(errors="replace")
    if os.waitpid(child, 0)[1] != 0:
        raise OSError(f"the routes could not be set: {said}")


def _set_routes(nowhere: Sequence[ipaddress.IPv4Network], opened: Sequence[ipaddress.IPv4Network]) -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        for network in nowhere:
            _add_route(kernel, network, None)
        for network in opened:
            _add_route(kernel, network, GATEWAY)


def _add_route(kernel: socket.socket, network: ipaddress.IPv4Network, gateway: ipaddress.IPv4Address | None) -> None:
    kind = _UNREACHABLE if gateway is None else _UNICAST
    message = struct.pack(
        "=BBBBBBBBI", socket.AF_INET, network.prefixlen, 0, 0, _MAIN_TABLE, _STATIC, _UNIVERSE, kind, 0
    )
    message += struct.pack("=HH4s", 8, _DESTINATION, network.network_address.packed)
    if gateway is not None:
        message += struct.pack("=HH4s", 8, _GATEWAY, gateway.packed)
    kernel.send(struct.pack("=IHHII", 16 + len(message), _NEW_ROUTE, _REQUEST_CREATE_ACKNOWLEDGE, 1, 0) + message)
    answer = kernel.recv(8192)
    (number,) = struct.unpack_from("=i", answer, 16)
    if struct.unpack_from("=H", answer, 4)[0] == _ERROR and number != 0:
        raise OSError(-number, f"{network}: {os.strerror(-number)}")
