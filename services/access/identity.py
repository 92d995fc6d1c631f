"""Tells who is calling, from the bearer token alone.

Each service verifies for itself: nothing is believed because of the network a call came from, and no identity header is
read. Algorithms, issuer, audience and the source of keys are fixed in settings; the token only names a key among those.
What the subject may do is the policy's business.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

import jwt
from pydantic import BaseModel, ConfigDict, Field

from services.access.signing_keys import FileKeys, KeysUnavailable, SigningKeys, UrlKeys
from services.shared.errors import Unauthenticated, Unavailable
from workflow_runner.v1.error_reason_pb2 import (
    ERROR_REASON_IDENTITY_UNAVAILABLE,
    ERROR_REASON_TOKEN_EXPIRED,
    ERROR_REASON_TOKEN_INVALID,
    ERROR_REASON_TOKEN_MISSING,
)

TOKEN_LIMIT_CHARS = 16_384
ENTRIES_LIMIT = 256
"""Workspaces, groups and roles in one token. The policy's cost grows with them: `tests/policy/test_policy_cost.py`."""
TEXT_LIMIT_CHARS = 256

RETRY_IN = timedelta(seconds=2)
REALM = 'Bearer realm="workflow-runner"'
TOKEN_TYPES = {"jwt", "at+jwt", "application/at+jwt"}

Claim = Literal[
    "azp",
    "groups",
    "preferred_username",
    "realm_roles",
    "scope",
    "workflow_runner_service",
    "workspace",
    "workspaces",
    "workspaces-owned",
]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Who is calling."""

    id: str
    """The `sub` of the token; `anonymous` without a token."""
    claims: Mapping[str, Any]
    """The claims the policy may see: a fixed selection, of known types and bounded in size."""
    token_expiry: datetime | None
    """When the token ends, and with it anything that was granted for it, such as a stream. None without a token."""
    anonymous: bool = False


ANONYMOUS = Subject(id="anonymous", claims=MappingProxyType({}), token_expiry=None, anonymous=True)


class IdentitySettings(BaseModel):
    """Whose tokens are accepted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: Annotated[str, Field(min_length=1)]
    """The exact `iss` of every token."""
    audience: Annotated[tuple[str, ...], Field(min_length=1)]
    """A token is for us when its `aud` names one of these."""
    algorithms: Annotated[tuple[Literal["RS256", "ES256", "EdDSA"], ...], Field(min_length=1)] = (
        "EdDSA",
        "ES256",
        "RS256",
    )
    jwks: Annotated[str, Field(min_length=1)]
    """The issuer's keys: an http(s) URL, or the path of a file."""
    jwks_refresh: Annotated[timedelta, Field(ge=timedelta(seconds=60))] = timedelta(minutes=5)
    """How often keys behind a URL are fetched again; so long a withdrawn key may live on."""
    leeway: Annotated[timedelta, Field(ge=timedelta(0), le=timedelta(seconds=60))] = timedelta(seconds=30)
    """How far the clocks of issuer and service may be apart."""
    claims: Mapping[Claim, tuple[str, ...]] = {}
    """Where this issuer has a claim when not under its own name, as a path: `{"groups": ["cognito:groups"]}`."""


CLAIM_PATHS: Mapping[Claim, tuple[str, ...]] = {
    "azp": ("azp",),
    "groups": ("groups",),
    "preferred_username": ("preferred_username",),
    "realm_roles": ("realm_access", "roles"),
    "scope": ("scope",),
    "workflow_runner_service": ("workflow_runner_service",),
    "workspace": ("workspace",),
    "workspaces": ("workspaces",),
    "workspaces-owned": ("workspaces-owned",),
}
MOST_RECENT = 4096
LIST_CLAIMS = {"groups", "realm_roles", "workspaces", "workspaces-owned"}


@dataclass(frozen=True)
class VerifiedToken:
    """A token that was verified a moment ago, and what it was verified with."""

    subject: Subject
    kid: str | None
    algorithm: str
    key: jwt.PyJWK


class RecentTokens:
    """Tokens that were verified a moment ago: reading one costs as much as everything else in a short call."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._kept: OrderedDict[bytes, VerifiedToken] = OrderedDict()

    def get(self, token: str) -> VerifiedToken | None:
        """What is known of a token that has not expired."""
        digest = _digest(token)
        verified = self._kept.get(digest)
        if verified is None:
            return None
        expiry = verified.subject.token_expiry
        if expiry is None or expiry <= self._now():
            del self._kept[digest]
            return None
        return verified

    def keep(self, token: str, verified: VerifiedToken) -> None:
        """Keeps a token that was verified just now; the one kept longest makes room."""
        self._kept[_digest(token)] = verified
        if len(self._kept) > MOST_RECENT:
            self._kept.popitem(last=False)


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


class TokenVerifier:
    """Verifies bearer tokens against a JWKS; algorithms, issuer and audience are fixed in settings."""

    def __init__(self, keys: SigningKeys, settings: IdentitySettings) -> None:
        self._keys = keys
        self._settings = settings
        self._paths = {**CLAIM_PATHS, **settings.claims}
        self._recent = RecentTokens()

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: IdentitySettings) -> AsyncIterator[Self]:
        """Opens the source of keys. It need not be there yet: until it is, tokens are answered with Unavailable."""
        async with AsyncExitStack() as stack:
            keys: SigningKeys
            if settings.jwks.startswith(("https://", "http://")):
                keys = await stack.enter_async_context(
                    UrlKeys.open(settings.jwks, settings.algorithms, refresh=settings.jwks_refresh)
                )
            else:
                keys = FileKeys(Path(settings.jwks), settings.algorithms)
            yield cls(keys, settings)

    async def verify(self, authorization: str | None) -> Subject:
        """The subject of an `authorization` header; the anonymous subject when there is none.

        Raises Unauthenticated (TOKEN_MISSING, TOKEN_INVALID, TOKEN_EXPIRED) with a `www-authenticate` header, and
        Unavailable (IDENTITY_UNAVAILABLE) while no key of the issuer is known.
        """
        if authorization is None:
            return ANONYMOUS
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if not authorization.strip() or (scheme.lower() == "bearer" and not token):
            raise token_missing()
        if scheme.lower() != "bearer":
            raise _invalid("The authorization has to be a bearer token.")
        if len(token) > TOKEN_LIMIT_CHARS:
            raise _invalid("The token is too long.")
        known = self._recent.get(token)
        # A key that the issuer has withdrawn or changed ends what was verified with it.
        if known is not None and await self._find(known.kid, known.algorithm) is known.key:
            return known.subject
        kid, algorithm = self._header(token)
        key = await self._find(kid, algorithm)
        if key is None:
            raise _invalid("The token is signed with an unknown key.")
        subject = self._subject(self._decode(token, key))
        self._recent.keep(token, VerifiedToken(subject, kid, algorithm, key))
        return subject

    def _header(self, token: str) -> tuple[Any, str]:
        """The id of the key and the algorithm that a token names."""
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise _invalid("The token is not a JWT.") from error
        algorithm, kid, token_type = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
        if algorithm not in self._settings.algorithms:
            raise _invalid("The token's algorithm is not accepted.")
        if "crit" in header or not isinstance(token_type, str) or token_type.lower() not in TOKEN_TYPES:
            raise _invalid("The token is not an access token.")
        return kid, algorithm

    async def _find(self, kid: Any, algorithm: str) -> jwt.PyJWK | None:
        try:
            return await self._keys.find(kid, algorithm)
        except KeysUnavailable as error:
            raise Unavailable(
                ERROR_REASON_IDENTITY_UNAVAILABLE,
                "The keys of the token issuer cannot be had. Try again.",
                retry_in=RETRY_IN,
            ) from error

    def _decode(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
        try:
            payload: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                leeway=self._settings.leeway,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.ExpiredSignatureError, jwt.ImmatureSignatureError) as error:
            over = isinstance(error, jwt.ExpiredSignatureError)
            message = "The token has expired." if over else "The token is not valid yet."
            raise Unauthenticated(ERROR_REASON_TOKEN_EXPIRED, message, headers=_challenge(message)) from error
        except (jwt.InvalidIssuerError, jwt.InvalidAudienceError) as error:
            raise _invalid("The token is meant for somebody else.") from error
        except (jwt.PyJWTError, ValueError, OverflowError, RecursionError) as error:
            raise _invalid("The token does not hold.") from error
        # ID and refresh tokens are signed by the same keys, and may name the same audience.
        if payload.get("typ", "Bearer") != "Bearer" or "at_hash" in payload or "c_hash" in payload:
            raise _invalid("The token is not an access token.")
        return payload

    def _subject(self, payload: dict[str, Any]) -> Subject:
        subject = payload["sub"]
        # "anonymous" is the name of callers without a token; nobody may take it.
        if not _is_text(subject) or subject == ANONYMOUS.id:
            raise _invalid("The token's subject cannot be used.")
        try:
            expiry = datetime.fromtimestamp(int(payload["exp"]), UTC)
        except (ValueError, OverflowError, OSError) as error:
            raise _invalid("The token's expiry cannot be used.") from error
        return Subject(id=subject, claims=MappingProxyType(self._claims(payload)), token_expiry=expiry)

    def _claims(self, payload: dict[str, Any]) -> dict[str, Any]:
        claims: dict[str, Any] = {}
        entries = 0
        for name, path in self._paths.items():
            value = _at(payload, path)
            if name == "workspaces" and isinstance(value, dict):
                claims[name] = {key: role for key, role in value.items() if _is_text(key) and _is_text(role)}
                entries += len(value)
            elif name in LIST_CLAIMS:
                # A mapper for a single value gives a text where others give a list.
                values = value if isinstance(value, list) else [] if value is None else [value]
                claims[name] = [text for text in values if _is_text(text)]
                entries += len(values)
            elif _is_text(value):
                claims[name] = value
        if entries > ENTRIES_LIMIT:
            raise _invalid(f"The token names more than {ENTRIES_LIMIT} workspaces, groups and roles.")
        claims["realm_access"] = {"roles": claims.pop("realm_roles")}
        return claims


def token_missing() -> Unauthenticated:
    """The refusal for an anonymous call that the policy does not allow."""
    return Unauthenticated(
        ERROR_REASON_TOKEN_MISSING,
        "This needs a token: send it as `Authorization: Bearer <token>`.",
        headers={"www-authenticate": REALM},
    )


def _invalid(message: str) -> Unauthenticated:
    return Unauthenticated(ERROR_REASON_TOKEN_INVALID, message, headers=_challenge(message))


def _challenge(message: str) -> dict[str, str]:
    return {"www-authenticate": f'{REALM}, error="invalid_token", error_description="{message}"'}


def _at(payload: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = payload
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _is_text(value: object) -> bool:
    # Printable text has neither NUL, which PostgreSQL cannot store, nor lone surrogates, which UTF-8 cannot.
    return isinstance(value, str) and 0 < len(value) <= TEXT_LIMIT_CHARS and value.isprintable()
