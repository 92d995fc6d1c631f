"""Keeps the public keys of the token issuer.

Keys come from one place that the settings name, a file or a URL, and never from anything a token says. Keys that were
had once are kept while that place is away; a key disappears when a key set arrives without it.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any, Protocol, Self

import aiohttp
import jwt
import orjson
import structlog

SIZE_LIMIT_BYTES = 1 << 20
KEYS_LIMIT = 100
RSA_LEAST_BITS = 2048
LEAST_INTERVAL = timedelta(seconds=60)
"""Between two requests to the issuer, however many tokens name unknown keys."""
FIRST_RETRY = timedelta(seconds=1)
FETCH_DEADLINE = timedelta(seconds=5)

PUBLIC_MEMBERS = ("kty", "crv", "x", "y", "n", "e")
KINDS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}

log = structlog.get_logger(__name__)


class KeysUnavailable(Exception):
    """No key set has been had yet."""


class InvalidKeySet(Exception):
    """The document is not a key set with a usable key."""


class KeySet:
    """The usable keys of one JWKS document, each bound to the one algorithm of its type."""

    def __init__(self, keys: dict[tuple[str | None, str], jwt.PyJWK]) -> None:
        self._keys = keys

    @classmethod
    def from_json(cls, document: bytes, algorithms: Sequence[str]) -> Self:
        """Reads a JWKS document. Keys of other types or uses are left out. Raises InvalidKeySet when none remains."""
        try:
            entries = orjson.loads(document)["keys"]
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise InvalidKeySet("it is not a JSON object with `keys`") from error
        if not isinstance(entries, list) or len(entries) > KEYS_LIMIT:
            raise InvalidKeySet(f"`keys` is not a list of at most {KEYS_LIMIT} keys")
        keys: dict[tuple[str | None, str], jwt.PyJWK] = {}
        for entry in entries:
            algorithm = _algorithm(entry)
            if algorithm and algorithm in algorithms and (key := _public_key(entry, algorithm)):
                keys[entry.get("kid"), algorithm] = key
        if not keys:
            raise InvalidKeySet(f"no key in it is of use with {', '.join(algorithms)}")
        return cls(keys)

    def find(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        """The key of that id. A token that names none is checked with the only key of its algorithm, if there is."""
        if kid is not None:
            return self._keys.get((kid, algorithm))
        candidates = [key for (_, of), key in self._keys.items() if of == algorithm]
        return candidates[0] if len(candidates) == 1 else None


def _algorithm(entry: object) -> str | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str | None):
        return None
    match entry.get("kty"), entry.get("crv"):
        case str() as kty, (str() | None) as crv:
            algorithm = KINDS.get((kty, crv))
        case _:
            return None
    if entry.get("alg", algorithm) != algorithm or entry.get("use", "sig") != "sig":
        return None
    operations = entry.get("key_ops", ["verify"])
    return algorithm if isinstance(operations, list) and "verify" in operations else None


def _public_key(entry: dict[str, Any], algorithm: str) -> jwt.PyJWK | None:
    try:
        key = jwt.PyJWK({name: entry[name] for name in PUBLIC_MEMBERS if name in entry}, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    return None if getattr(key.key, "key_size", RSA_LEAST_BITS) < RSA_LEAST_BITS and algorithm == "RS256" else key


class SigningKeys(Protocol):
    """Where a verifier finds the issuer's keys."""

    async def find(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        """The key, or None if the issuer has no such key. Raises KeysUnavailable when no key set was had yet."""


class FileKeys:
    """The keys of a JWKS file, read again whenever the file changes."""

    def __init__(self, path: Path, algorithms: Sequence[str]) -> None:
        self._path = path
        self._algorithms = algorithms
        self._version: tuple[int, ...] | None = None
        self._keys: KeySet | None = None

    async def find(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        """See `SigningKeys`. Reads the file at most once per change; a small local file, so it does not wait."""
        self._read_if_changed()
        if self._keys is None:
            raise KeysUnavailable
        return self._keys.find(kid, algorithm)

    def _read_if_changed(self) -> None:
        try:
            stat = self._path.stat()
            version = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if version == self._version:
                return
            if stat.st_size > SIZE_LIMIT_BYTES:
                raise InvalidKeySet("it is too large")
            keys = KeySet.from_json(self._path.read_bytes(), self._algorithms)
        except (OSError, InvalidKeySet) as error:
            if self._version != (0,):
                log.warning("The file of signing keys cannot be used.", path=str(self._path), error=str(error))
            self._version = (0,)
            return
        self._version = version
        self._keys = keys


class UrlKeys:
    """The keys behind a JWKS URL, fetched again from time to time and when a token names an unknown key."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, algorithms: Sequence[str], *, refresh: timedelta
    ) -> None:
        self._session = session
        self._url = url
        self._algorithms = algorithms
        self._refresh = max(refresh, LEAST_INTERVAL).total_seconds()
        self._lock = asyncio.Lock()
        self._asked = float("-inf")
        self._keys: KeySet | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, algorithms: Sequence[str], *, refresh: timedelta) -> AsyncIterator[Self]:
        """Fetches the keys, and keeps them fresh until closed. An issuer that is away does not stop the start."""
        timeout = aiohttp.ClientTimeout(total=FETCH_DEADLINE.total_seconds())
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
            keys = cls(session, url, algorithms, refresh=refresh)
            await keys._fetch()
            task = asyncio.create_task(keys._keep_fresh())
            try:
                yield keys
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def find(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        """See `SigningKeys`. Waits for the issuer only for an unknown key, and only if it was not asked lately."""
        key = self._keys.find(kid, algorithm) if self._keys else None
        if key is None and self._may_ask():
            async with self._lock:
                if self._may_ask():
                    await self._fetch()
            key = self._keys.find(kid, algorithm) if self._keys else None
        if self._keys is None:
            raise KeysUnavailable
        return key

    def _may_ask(self) -> bool:
        return monotonic() - self._asked >= LEAST_INTERVAL.total_seconds()

    async def _keep_fresh(self) -> None:
        retry = FIRST_RETRY.total_seconds()
        while True:
            if self._keys is None:
                await asyncio.sleep(retry)
                retry = min(retry * 2, LEAST_INTERVAL.total_seconds())
            else:
                await asyncio.sleep(max(self._asked + self._refresh - monotonic(), 0))
            async with self._lock:
                await self._fetch()

    async def _fetch(self) -> None:
        self._asked = monotonic()
        try:
            async with self._session.get(self._url, allow_redirects=False) as response:
                if response.status != 200:
                    raise InvalidKeySet(f"status {response.status}")
                document = await response.content.read(SIZE_LIMIT_BYTES + 1)
                while not response.content.at_eof() and len(document) <= SIZE_LIMIT_BYTES:
                    document += await response.content.read(SIZE_LIMIT_BYTES + 1)
            if len(document) > SIZE_LIMIT_BYTES:
                raise InvalidKeySet("it is too large")
            self._keys = KeySet.from_json(document, self._algorithms)
        except (aiohttp.ClientError, OSError, TimeoutError, InvalidKeySet) as error:
            log.warning("The signing keys cannot be fetched.", url=self._url, error=repr(error)[:500])
