"""Questions to a program on this machine: is it ready, is it serving?"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

_DEADLINE_SECONDS = 2.0


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Asks again and again, until the answer is yes."""
    while not await condition():  # noqa: ASYNC110 - what another program does sets no event here
        await asyncio.sleep(0.02)


async def takes_connections(socket: Path) -> bool:
    """Tells whether a server listens on a unix socket. Whether it serves well is Envoy's to find out, all the time."""
    try:
        _, writer = await asyncio.open_unix_connection(socket)
    except OSError:
        return False
    writer.close()
    return True


async def http_status(
    place: Path | tuple[str, int], path: str, *, method: str = "GET", headers: Mapping[str, str] | None = None
) -> int | None:
    """Asks an HTTP server on a unix socket or at an address; gives the status of its answer, None without one."""
    try:
        async with asyncio.timeout(_DEADLINE_SECONDS):
            if isinstance(place, Path):
                reader, writer = await asyncio.open_unix_connection(place)
            else:
                reader, writer = await asyncio.open_connection(*place)
            try:
                sent = {"host": "localhost", "connection": "close", **(headers or {})}
                lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
                writer.write("\r\n".join(lines).encode())
                status_line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None
    fields = status_line.split()
    return int(fields[1]) if len(fields) > 1 and fields[1].isdigit() else None
