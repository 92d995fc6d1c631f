"""Somebody who wants to be told of jobs."""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.support.listeners import Origin


class Subscriber:
    """Takes messages."""

    def __init__(self, server: ThreadingHTTPServer, messages: "queue.Queue[tuple[str, bytes]]") -> None:
        host, port = server.server_address[:2]
        self.url = f"http://{host!s}:{port}"
        self._messages = messages

    def next(self, *, within: float) -> tuple[str, bytes]:
        """The path and the body of the next message."""
        return self._messages.get(timeout=within)


@contextmanager
def subscriber(origin: Origin) -> Iterator[Subscriber]:
    """Listens beside the origin, where the shared installation may send to."""
    messages: queue.Queue[tuple[str, bytes]] = queue.Queue()

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.put((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer((urlsplit(origin.url).hostname or "", 0), Taking)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield Subscriber(server, messages)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
