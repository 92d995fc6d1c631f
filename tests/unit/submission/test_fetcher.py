"""The guarded fetcher against a hostile web: where it does not go, and what it does not take."""

import asyncio
import gzip
import ipaddress
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from yarl import URL

from services.shared.errors import InvalidArgument
from services.submission.staging.fetcher import Fetcher

HOST = "files.example.org"
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
SECRET = b"canary-of-the-answer"


class Web:
    """A server on this machine that answers as a test says, for a name that resolves as a test says."""

    def __init__(self) -> None:
        self.port = 0
        self.paths: list[str] = []
        self.raw_paths: list[str] = []
        self.headers: dict[str, str] = {}
        self.answers: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = {}
        self.addresses: list[list[str]] = [["127.0.0.1"]]
        self.asked: list[str] = []

    def url(self, path: str = "/", scheme: str = "http") -> str:
        return f"{scheme}://{HOST}:{self.port}{path}"

    def answer(self, path: str, body: bytes = b"ok", **fields: Any) -> None:
        async def answered(request: web.Request) -> web.Response:
            return web.Response(body=body, **fields)

        self.answers[path] = answered

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.paths.append(request.path)
        self.raw_paths.append(request.raw_path)
        self.headers = dict(request.headers)
        return await self.answers[request.path](request)  # type: ignore[arg-type]

    async def resolve(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked.append(host)
        found = self.addresses.pop(0) if len(self.addresses) > 1 else self.addresses[0]
        families = {4: socket.AF_INET, 6: socket.AF_INET6}
        return [
            (families[ipaddress.ip_address(address).version], socket.SOCK_STREAM, 6, "", (address, port))
            for address in found
        ]


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Web]:
    served = Web()
    async for started in serve(served, monkeypatch, None):
        yield started


async def serve(served: Web, monkeypatch: pytest.MonkeyPatch, tls: ssl.SSLContext | None) -> AsyncIterator[Web]:
    runner = web.ServerRunner(web.Server(served))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    served.port = runner.addresses[0][1]
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", served.resolve)
    yield served
    await runner.cleanup()


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    """A fetcher whose operator allows plain HTTP from one host of this machine."""
    async with Fetcher(allow_http_hosts=frozenset({HOST}), allowed_networks=LOOPBACK) as opened:
        yield opened


@pytest.fixture
async def strict() -> AsyncIterator[Fetcher]:
    """A fetcher as it is without any setting."""
    async with Fetcher() as opened:
        yield opened


async def refusal(fetching: Awaitable[Any]) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        await fetching
    assert SECRET.decode() not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "ftp://example.org/",
        "gopher://example.org/",
        "file:///etc/passwd",
        "data:,x",
        "//example.org/x",
        "example.org",
        "",
        "https://",
        "https:///x",
        "https://user@example.org/",
        "https://user:pass@example.org/",
        "https://example.org@127.0.0.1/",
        "https://example.org:22/",
        "https://example.org:80/",
        "https://example.org:99999/",
        "https://localhost/",
        "https://localhost./",
        "https://a.localhost/",
        "https://metadata/",
        "https://metadata.google.internal/",
        "https://kubernetes.default.svc/",
        "https://kubernetes.default.svc.cluster.local/",
        "https://printer.local/",
        "https://127.0.0.1/",
        "https://127.1.2.3/",
        "https://10.1.2.3/",
        "https://172.16.0.1/",
        "https://192.168.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://100.100.100.200/",
        "https://168.63.129.16/",
        "https://192.0.0.192/",
        "https://0.0.0.0/",
        "https://224.0.0.1/",
        "https://255.255.255.255/",
        "https://[::1]/",
        "https://[::]/",
        "https://[::ffff:169.254.169.254]/",
        "https://[::ffff:7f00:1]/",
        "https://[64:ff9b::a9fe:a9fe]/",
        "https://[2002:7f00:1::]/",
        "https://[fd00:ec2::254]/",
        "https://[fe80::1]/",
        "https://[fe80::1%25eth0]/",
        "https://[ff02::1]/",
        "https://[2001:db8::1]/",
        "https://exa mple.org/",
        "https://example.org/\r\nHost: evil",
        "https://example.org/" + "a" * 3000,
        " https://example.org/",
    ],
)
async def test_such_a_url_is_refused_before_any_name_is_asked_for(strict, rig, url):
    found = await refusal(strict.fetch(url, max_bytes=1000, accept="*/*"))

    assert "URL_REFUSED" == found.reason_name
    assert [] == rig.asked


@pytest.mark.parametrize(
    "host", ["127.1", "2130706433", "0x7f.1", "0", "017700000001", "１２７.０.０.１", "127。0。0。1"]
)
async def test_other_spellings_of_private_addresses_are_refused(strict, host):
    found = await refusal(strict.fetch(f"https://{host}/", max_bytes=1000, accept="*/*"))

    assert "URL_REFUSED" == found.reason_name


async def test_no_socket_is_opened_to_an_address_that_was_not_checked(strict, monkeypatch):
    # As if a host had slipped through the check of the URL and past the resolver.
    monkeypatch.setattr(Fetcher, "_checked", lambda self, url, base=None: URL(url))

    for host in ("127.0.0.1", "[::1]", "10.0.0.1"):
        found = await refusal(strict.fetch(f"https://{host}/", max_bytes=1000, accept="*/*"))
        assert "URL_REFUSED" == found.reason_name, host


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["2606:2800:220:1::1", "::1"], ["::ffff:10.0.0.1"], ["fd00::1"]],
)
async def test_a_name_is_refused_when_any_of_its_addresses_is_private(strict, rig, addresses):
    rig.addresses = [addresses]

    found = await refusal(strict.fetch(f"https://{HOST}/", max_bytes=1000, accept="*/*"))

    assert "URL_REFUSED" == found.reason_name
    assert not any(address in found.message for address in addresses)
    assert [] == rig.paths


async def test_a_name_is_resolved_once_and_the_checked_address_is_connected_to(fetcher, rig):
    rig.answer("/")
    # A second question would be answered with an address that is refused.
    rig.addresses = [["127.0.0.1"], ["10.0.0.1"]]

    await fetcher.fetch(rig.url(), max_bytes=1000, accept="*/*")

    assert [HOST] == rig.asked
    assert f"{HOST}:{rig.port}" == rig.headers["Host"]


async def test_a_name_that_changes_its_address_between_two_requests_is_checked_again(fetcher, rig):
    rig.answer("/")
    rig.addresses = [["127.0.0.1"], ["169.254.169.254"]]
    await fetcher.fetch(rig.url(), max_bytes=1000, accept="*/*")

    found = await refusal(fetcher.fetch(rig.url(), max_bytes=1000, accept="*/*"))

    assert "URL_REFUSED" == found.reason_name


@pytest.mark.parametrize(
    "target",
    [
        "https://10.0.0.1/",
        "http://169.254.169.254/",
        "file:///etc/passwd",
        "https://user@files.example.org/",
        "//10.0.0.1/",
        "http://other.example.org/",
    ],
)
async def test_each_redirect_is_checked_like_the_first_url(fetcher, rig, target):
    rig.answer("/", status=302, headers={"Location": target})

    found = await refusal(fetcher.fetch(rig.url(), max_bytes=1000, accept="*/*"))

    assert "URL_REFUSED" == found.reason_name
    assert ["/"] == rig.paths


async def test_three_redirects_are_followed_and_a_fourth_is_not(fetcher, rig):
    for number in range(4):
        rig.answer(f"/{number}", status=301, headers={"Location": f"/{number + 1}"})
    rig.answer("/4", b"there")

    fetched = await fetcher.fetch(rig.url("/1"), max_bytes=1000, accept="*/*")
    found = await refusal(fetcher.fetch(rig.url("/0"), max_bytes=1000, accept="*/*"))

    assert (b"there", rig.url("/4")) == (fetched.body, fetched.final_url)
    assert "redirects more than 3 times" in found.message


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("/T10%3A00%3A00Z.tif", "/T10%3A00%3A00Z.tif"),
        ("/T10:00:00Z.tif", "/T10:00:00Z.tif"),
        ("/%41%7e?key=a%2Fb%2bc&signature=%3d", "/%41%7e?key=a%2Fb%2bc&signature=%3d"),
        ("/été 1.tif", "/%C3%A9t%C3%A9%201.tif"),
        ("/100%.tif", "/100%25.tif"),
    ],
)
async def test_an_address_is_asked_for_as_it_is_written(fetcher, rig, written, asked):
    rig.answer(URL(asked, encoded=True).path)

    await fetcher.fetch(rig.url(written), max_bytes=10, accept="*/*")

    assert [asked] == rig.raw_paths


async def test_a_document_comes_with_its_media_type(fetcher, rig):
    rig.answer("/a.cwl", b"cwlVersion: v1.2", content_type="application/cwl+yaml", charset="utf-8")

    fetched = await fetcher.fetch(rig.url("/a.cwl"), max_bytes=1000, accept="application/cwl+yaml, text/plain")

    assert (b"cwlVersion: v1.2", "application/cwl+yaml") == (fetched.body, fetched.media_type)
    assert "Authorization" not in rig.headers
    assert "Cookie" not in rig.headers


async def test_another_media_type_is_not_taken(fetcher, rig):
    rig.answer("/", SECRET, content_type="text/html")

    found = await refusal(fetcher.fetch(rig.url(), max_bytes=1000, accept="application/cwl+yaml, text/plain"))

    assert "FETCH_FAILED" == found.reason_name


@pytest.mark.parametrize("status", [204, 401, 404, 500])
async def test_an_error_of_the_server_is_told_without_its_body(fetcher, rig, status):
    rig.answer("/", SECRET if status != 204 else b"", status=status, reason=SECRET.decode())

    found = await refusal(fetcher.fetch(rig.url("/"), max_bytes=1000, accept="*/*"))

    assert f"the server answered {status}" in found.message


async def test_the_query_and_the_user_of_a_url_are_not_repeated(strict):
    found = await refusal(strict.fetch("https://ada:pass@h.example.org/p?token=tok", max_bytes=1, accept="*/*"))

    assert not any(word in found.message for word in ("ada", "pass@", "tok"))


async def test_a_declared_length_beyond_the_limit_is_refused(fetcher, rig):
    rig.answer("/", b"x" * 2000)

    assert "more than 1000 bytes" in (await refusal(fetcher.fetch(rig.url(), max_bytes=1000, accept="*/*"))).message


async def test_an_endless_body_is_cut_off(fetcher, rig):
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    rig.answers["/"] = endless

    assert (
        "more than 100000 bytes" in (await refusal(fetcher.fetch(rig.url(), max_bytes=100_000, accept="*/*"))).message
    )


async def test_bytes_are_counted_after_decompression(fetcher, rig):
    rig.answer("/small", gzip.compress(b"hello"), headers={"Content-Encoding": "gzip"})
    rig.answer("/bomb", gzip.compress(b"\0" * (50 << 20)), headers={"Content-Encoding": "gzip"})

    fetched = await fetcher.fetch(rig.url("/small"), max_bytes=1000, accept="*/*")
    found = await refusal(fetcher.fetch(rig.url("/bomb"), max_bytes=1 << 20, accept="*/*"))

    assert b"hello" == fetched.body
    assert "more than 1048576 bytes" in found.message


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", b"not gzip"),
        ("gzip", gzip.compress(b"hello", mtime=0)[:-6]),
        ("deflate", zlib.compress(b"a")),
        ("br", b"a"),
    ],
)
async def test_other_or_broken_compression_is_refused(fetcher, rig, encoding, body):
    rig.answer("/", body, headers={"Content-Encoding": encoding})

    assert "FETCH_FAILED" == (await refusal(fetcher.fetch(rig.url(), max_bytes=1000, accept="*/*"))).reason_name


@pytest.mark.parametrize("slow", ["headers", "body"])
async def test_a_slow_server_is_given_up(rig, slow):
    released = asyncio.Event()

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if slow == "body":
            await response.prepare(request)
            await response.write(b"x")
        await released.wait()
        return response

    rig.answers["/"] = drip
    hasty = Fetcher(
        allow_http_hosts=frozenset({HOST}), allowed_networks=LOOPBACK, time_limit=timedelta(milliseconds=300)
    )

    async with hasty as fetcher:
        found = await refusal(fetcher.fetch(rig.url(), max_bytes=1000, accept="*/*"))
    released.set()

    assert ("FETCH_FAILED", True) == (found.reason_name, "took longer" in found.message)


async def test_a_server_that_is_away_is_told_as_such(fetcher, rig):
    url = rig.url().replace(str(rig.port), "1")

    assert "the connection failed" in (await refusal(fetcher.fetch(url, max_bytes=1000, accept="*/*"))).message


async def test_a_download_is_written_and_a_failed_one_leaves_nothing(fetcher, rig, tmp_path):
    rig.answer("/file", b"x" * 1000, content_type="image/tiff")
    rig.answer("/large", b"x" * 3000, headers={"Content-Encoding": "identity"})

    size = await fetcher.download(rig.url("/file"), tmp_path / "a", max_bytes=2000)
    await refusal(fetcher.download(rig.url("/large"), tmp_path / "b", max_bytes=2000))
    await refusal(fetcher.download("https://127.0.0.1/", tmp_path / "c", max_bytes=2000))

    assert (1000, b"x" * 1000) == (size, (tmp_path / "a").read_bytes())
    assert ["a"] == [path.name for path in tmp_path.iterdir()]


async def test_https_keeps_the_name_for_the_certificate(monkeypatch, tmp_path):
    key, certificate = certificate_for(HOST)
    for name, content in (("key.pem", key), ("certificate.pem", certificate)):
        (tmp_path / name).write_bytes(content)
    server, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    server.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    trusting.load_verify_locations(tmp_path / "certificate.pem")
    names: list[Any] = []
    server.sni_callback = lambda _socket, name, _context: names.append(name)
    hosts = frozenset({HOST, "other.example.org"})

    async for rig in serve(Web(), monkeypatch, server):
        rig.answer("/", b"private")
        async with Fetcher(allow_http_hosts=hosts, allowed_networks=LOOPBACK, tls=trusting) as fetcher:
            fetched = await fetcher.fetch(rig.url(scheme="https"), max_bytes=1000, accept="*/*")
            found = await refusal(fetcher.fetch(f"https://other.example.org:{rig.port}/", max_bytes=1000, accept="*/*"))

    assert (b"private", HOST) == (fetched.body, names[0])
    assert "the connection failed" in found.message


def certificate_for(host: str) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(hours=1)
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, certificate.public_bytes(serialization.Encoding.PEM)


def test_the_fetcher_is_the_only_door_to_the_web():
    services = Path(__file__).parents[3] / "services"

    doors = [
        str(path.relative_to(services))
        for path in services.rglob("*.py")
        if any(word in path.read_text() for word in ("ClientSession(", "urlopen(", "requests.get("))
    ]

    assert "submission/staging/fetcher.py" in doors
    assert not any(door.startswith("submission/") for door in doors if door != "submission/staging/fetcher.py")


async def test_a_download_that_only_drips_is_ended_long_before_its_time(rig, tmp_path):
    ended = asyncio.Event()

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"x" * 1_000)
        await ended.wait()
        return response

    rig.answers["/"] = drip
    strict = Fetcher(
        allow_http_hosts=frozenset({HOST}),
        allowed_networks=LOOPBACK,
        least_rate=10_000,
        rate_window=timedelta(milliseconds=200),
    )

    async with strict as fetcher:
        found = await refusal(fetcher.download(rig.url(), tmp_path / "a", max_bytes=1 << 20))
    ended.set()

    assert "less than 10000 bytes a second" in found.message
    assert not (tmp_path / "a").exists()
