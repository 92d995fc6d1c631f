"""The one place from which URLs of users are fetched.

A URL of a user must not become a way into our network. So: HTTPS only; a name is resolved once, every address it has
must be public, and the connection goes to an address that was checked; redirects are followed by hand, each checked
like the first; time and bytes are counted, bytes after decompression. What an answer says never shows in an error.
"""

import asyncio
import ipaddress
import re
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from services.shared.errors import InvalidArgument
from services.submission.staging.addresses import DENIED
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_FETCH_FAILED, ERROR_REASON_URL_REFUSED

PORTS = frozenset({443, 8443})
"""Ports for HTTPS: the usual one, and the one of servers that may not bind it. Others would make us a port scanner."""
MAX_REDIRECTS = 3
MAX_URL = 2048

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK = 64 << 10
_LOCAL_NAMES = ("localhost", "local", "internal", "svc", "cluster.local", "home.arpa", "in-addr.arpa", "ip6.arpa")

# The characters of a URI (RFC 3986), where nothing is left to be encoded.
_WRITTEN_WHOLE = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")
# The last label begins with a letter: `127.1` and `0x7f.1` are addresses to the operating system, and names to nobody.
_NAME = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,62})\.)*[a-z](?:[a-z0-9-]{0,62})")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Fetched:
    """An answer."""

    body: bytes
    media_type: str
    """Without parameters, in lower case; empty when the server did not say."""
    final_url: str


class Refused(OSError):
    """A name has an address that is not fetched from."""


class Fetcher:
    """Fetches from public HTTPS addresses. Use as a context manager; may be shared by all tasks of a service."""

    def __init__(
        self,
        *,
        allow_http_hosts: frozenset[str] = frozenset(),
        allowed_networks: tuple[Network, ...] = (),
        time_limit: timedelta = timedelta(seconds=10),
        download_time_limit: timedelta = timedelta(minutes=30),
        least_rate: int = 1_000,
        rate_window: timedelta = timedelta(seconds=30),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`allow_http_hosts` may be asked over plain HTTP and on any port; `allowed_networks` are fetched from although
        they are private. A download that brings less than `least_rate` bytes a second over a `rate_window` ends.

        Both belong to the operator: an object store next door is a reason. `tls` adds certificate authorities.
        """
        self._http_hosts = frozenset(host.lower() for host in allow_http_hosts)
        self._networks = allowed_networks
        self._time_limit = time_limit
        self._download_time_limit = download_time_limit
        self._least_rate = least_rate
        self._rate_window = rate_window.total_seconds()
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes what is open."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def fetch(self, url: str, *, max_bytes: int, accept: str) -> Fetched:
        """Fetches a document whose media type is one of `accept`.

        Raises InvalidArgument: URL_REFUSED before anything is sent to a place that is not allowed, FETCH_FAILED for the
        rest.
        """
        body = bytearray()
        async with self._opened(url, self._time_limit, max_bytes, accept) as answer:
            async for chunk in answer.chunks():
                body += chunk
        return Fetched(bytes(body), answer.media_type, answer.url)

    async def download(self, url: str, to: Path, *, max_bytes: int) -> int:
        """Fetches a file of any type and gives its size. Raises like `fetch`; what was written then is removed."""
        size = 0
        try:
            with to.open("xb") as file:
                async with self._opened(url, self._download_time_limit, max_bytes, "*/*") as answer:
                    async for chunk in self._fast_enough(answer):
                        size += len(chunk)
                        await asyncio.to_thread(file.write, chunk)
        except BaseException:
            await asyncio.to_thread(to.unlink, missing_ok=True)
            raise
        return size

    async def _fast_enough(self, answer: "_Answer") -> AsyncIterator[bytes]:
        """Gives the body. Raises FETCH_FAILED when it comes too slowly: a place is held for it."""
        loop, window = asyncio.get_running_loop(), self._rate_window
        chunks, expected, began = answer.chunks(), self._least_rate * window, loop.time()
        received = 0
        while True:
            try:
                async with asyncio.timeout_at(began + window):
                    chunk = await anext(chunks, None)
            except TimeoutError:
                problem = f"it sent less than {self._least_rate} bytes a second for {window:.0f} seconds"
                raise _failed(answer.shown, problem) from None
            if chunk is None:
                return
            yield chunk
            received += len(chunk)
            if received >= expected:
                received, began = 0, loop.time()

    async def check(self, url: str) -> None:
        """Raises InvalidArgument URL_REFUSED for an address that would not be asked, FETCH_FAILED for a
        name that leads nowhere.

        What is checked here is checked again when it is used: a name may lead elsewhere by then.
        """
        shown = _shown(url)
        async with self._guarded(shown, self._time_limit):
            target = self._checked(url)
            await _CheckedResolver(self._is_allowed).resolve(target.host or "", target.port or 0)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Sends a document and gives the status of the answer; no redirect is followed, and the answer is not read.

        Raises InvalidArgument: URL_REFUSED, FETCH_FAILED.
        """
        async with self._guarded(_shown(url), self._time_limit):
            response = await self._connected().post(
                self._checked(url), data=body, headers=dict(headers), allow_redirects=False
            )
            response.close()
            return response.status

    @asynccontextmanager
    async def _opened(self, url: str, limit: timedelta, max_bytes: int, accept: str) -> "AsyncIterator[_Answer]":
        shown = _shown(url)
        async with self._guarded(shown, limit):
            target = self._checked(url)
            for _ in range(MAX_REDIRECTS + 1):
                response = await self._get(target, accept)
                try:
                    if response.status not in _REDIRECTS:
                        yield _Answer(response, target, max_bytes, accept)
                        return
                    location = response.headers.get("Location", "")
                finally:
                    response.close()
                target = self._checked(location, target)
            raise _failed(shown, f"it redirects more than {MAX_REDIRECTS} times")

    @asynccontextmanager
    async def _guarded(self, shown: str, limit: timedelta) -> AsyncIterator[None]:
        """Makes refusals that tell nothing of the other side of whatever goes wrong within the time."""
        try:
            async with asyncio.timeout(limit.total_seconds()):
                yield
        except TimeoutError:
            raise _failed(shown, f"it took longer than {limit.total_seconds():.0f} seconds") from None
        except (aiohttp.ClientError, OSError, ValueError, zlib.error) as error:
            cause: BaseException | None = error
            while cause is not None:
                if isinstance(cause, Refused):
                    raise _refused(shown, "its host has an address that is not public") from None
                cause = cause.__cause__ or cause.__context__
            raise _failed(shown, "the connection failed") from None

    async def _get(self, target: URL, accept: str) -> aiohttp.ClientResponse:
        return await self._connected().get(
            target, allow_redirects=False, headers={"Accept": accept, "Accept-Encoding": "gzip, identity"}
        )

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=_CheckedResolver(self._is_allowed),
                    socket_factory=self._socket,
                    use_dns_cache=False,
                    ssl=self._tls or True,
                    force_close=True,
                    limit=32,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=None, connect=10, sock_read=30),
                headers={"User-Agent": "workflow-runner"},
            )
        return self._session

    def _checked(self, url: str, base: URL | None = None) -> URL:
        """Gives an address that may be asked for, or raises URL_REFUSED without having asked anything."""
        shown = _shown(url)
        if len(url) > MAX_URL or not url.isprintable() or url != url.strip():
            raise _refused(shown, "it is not a web address")
        try:
            # A whole address is asked for as it is written: `%3A` is not `:`, and a signature may cover either.
            target = URL(url, encoded=_WRITTEN_WHOLE.fullmatch(url) is not None)
            target = target if base is None else base.join(target)
            host, port = (target.raw_host or "").rstrip(".").lower(), target.port
        except ValueError:
            raise _refused(shown, "it is not a web address") from None
        if target.scheme != "https" and not (target.scheme == "http" and host in self._http_hosts):
            raise _refused(shown, "only https addresses are fetched")
        if target.user is not None or target.password is not None:
            raise _refused(shown, "it carries a user name or password")
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            if not _NAME.fullmatch(host) or (host not in self._http_hosts and self._is_local(host)):
                raise _refused(shown, "its host is not a public name") from None
        else:
            if not self._is_allowed(address):
                raise _refused(shown, "its host has an address that is not public")
        if port not in PORTS and host not in self._http_hosts:
            raise _refused(shown, f"only the ports {', '.join(map(str, sorted(PORTS)))} are used")
        return target.with_fragment(None)

    def _socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        """Opens a socket for an address that is about to be connected to: the last door, whoever found the address."""
        try:
            allowed = self._is_allowed(ipaddress.ip_address(str(address[4][0]).partition("%")[0]))
        except ValueError:
            allowed = False
        if not allowed:
            raise Refused("not public")
        return socket.socket(*address[:3])

    @staticmethod
    def _is_local(host: str) -> bool:
        return "." not in host or any(host == name or host.endswith(f".{name}") for name in _LOCAL_NAMES)

    def _is_allowed(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        if any(address in network for network in self._networks if network.version == address.version):
            return True
        denied = any(address in network for network in DENIED if network.version == address.version)
        return address.is_global and not denied and not address.is_multicast


class _CheckedResolver(AbstractResolver):
    """Resolves a name once and gives its addresses only when all of them may be connected to."""

    def __init__(self, is_allowed: Callable[[ipaddress.IPv4Address | ipaddress.IPv6Address], bool]) -> None:
        self._is_allowed = is_allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG
        )
        results = []
        for its_family, _, protocol, _, (address, *_rest) in found:
            if not self._is_allowed(ipaddress.ip_address(str(address).partition("%")[0])):
                raise Refused("not public")
            results.append(
                ResolveResult(
                    hostname=host,
                    host=str(address),
                    port=port,
                    family=its_family,
                    proto=protocol,
                    flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                )
            )
        return results

    async def close(self) -> None:
        """Has nothing to close."""


class _Answer:
    """A response whose body is being read."""

    def __init__(self, response: aiohttp.ClientResponse, url: URL, max_bytes: int, accept: str) -> None:
        self.url = str(url)
        self.media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        self.shown = _shown(self.url)
        self._response = response
        self._max_bytes = max_bytes
        if response.status != 200:
            raise _failed(self.shown, f"the server answered {response.status}")
        accepted = {item.partition(";")[0].strip().lower() for item in accept.split(",")}
        if self.media_type and "*/*" not in accepted and self.media_type not in accepted:
            raise _failed(self.shown, "it has another media type than was asked for")
        if response.content_length is not None and response.content_length > max_bytes:
            raise self._too_large()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Gives the body, decompressed, until it has too many bytes."""
        encoding = self._response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip", "x-gzip", ""):
            raise _failed(self.shown, "it is compressed in a way that was not asked for")
        inflate = zlib.decompressobj(wbits=31) if "gzip" in encoding else None
        size = 0
        async for chunk in self._response.content.iter_chunked(_CHUNK):
            while chunk:
                piece = inflate.decompress(chunk, _CHUNK) if inflate else chunk
                chunk = inflate.unconsumed_tail if inflate else b""
                size += len(piece)
                if size > self._max_bytes:
                    raise self._too_large()
                yield piece
        if inflate and not inflate.eof:
            raise _failed(self.shown, "it ended too early")

    def _too_large(self) -> InvalidArgument:
        return _failed(self.shown, f"it has more than {self._max_bytes} bytes")


def _shown(url: str) -> str:
    """Gives the part of a URL that may be repeated: no user name, no query, nothing long."""
    try:
        parsed = URL(url)
        return str(
            URL.build(scheme=parsed.scheme, host=parsed.host or "", port=parsed.explicit_port, path=parsed.path)
        )[:200]
    except (ValueError, TypeError):
        return "the URL"


def _refused(url: str, problem: str) -> InvalidArgument:
    return InvalidArgument(
        ERROR_REASON_URL_REFUSED,
        "{url} is not fetched: {problem}. Give a public https address, or send the content itself.",
        url=url,
        problem=problem,
    )


def _failed(url: str, problem: str) -> InvalidArgument:
    return InvalidArgument(
        ERROR_REASON_FETCH_FAILED, "{url} could not be fetched: {problem}.", url=url, problem=problem
    )
