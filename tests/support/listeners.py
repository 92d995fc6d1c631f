"""Places of the loopback network that packages are said to be at: one that answers, one that nobody may reach."""

import contextlib
import random
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HTTPS_PORT = 8443
"""A port that the fetcher uses, so that it is the address which keeps it away."""


def own_address() -> str:
    """An address of this machine that nobody else uses: all of 127.0.0.0/8 is."""
    return f"127.{random.randint(1, 254)}.{random.randint(1, 254)}.{random.randint(2, 254)}"


@dataclass(frozen=True)
class Listener:
    """Something that takes connections; the kernel takes them for it."""

    address: str
    port: int
    _sockets: tuple[socket.socket, ...]

    def was_reached(self) -> bool:
        """Whether anybody has connected, be it without a word."""
        for listening in self._sockets:
            with contextlib.suppress(BlockingIOError):
                listening.accept()[0].close()
                return True
        return False


@contextmanager
def listener(*, also: tuple[str, ...] = ()) -> Iterator[Listener]:
    """Listens on an address of its own where HTTPS is, and on the addresses `also` where that port is free."""
    address = own_address()
    with ExitStack() as stack:
        sockets = []
        for place in (address, *also):
            try:
                listening = stack.enter_context(socket.create_server((place, HTTPS_PORT), family=_family(place)))
            except OSError:
                # Somebody else is there, or this machine has no such address; ours alone must be had.
                if place == address:
                    raise
                continue
            listening.setblocking(False)
            sockets.append(listening)
        yield Listener(address, HTTPS_PORT, tuple(sockets))


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Origin:
    """A web server on an address of its own."""

    def __init__(self, address: str) -> None:
        self.pages: dict[str, tuple[int, Mapping[str, str], bytes]] = {}
        """Status, headers and body by path."""
        self.asked: list[str] = []
        origin = self

        class Answering(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                origin.asked.append(self.path)
                status, headers, body = origin.pages.get(self.path, (404, {}, b""))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer((address, 0), Answering)
        self.url = f"http://{address}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
