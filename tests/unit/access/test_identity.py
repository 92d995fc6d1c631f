import asyncio
import base64
import hmac
import json
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any, cast

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError

from services.access import signing_keys
from services.access.identity import (
    ENTRIES_LIMIT,
    TOKEN_LIMIT_CHARS,
    IdentitySettings,
    RecentTokens,
    Subject,
    TokenVerifier,
    VerifiedToken,
)
from services.shared.errors import Unauthenticated, Unavailable
from workflow_runner.v1.error_reason_pb2 import (
    ERROR_REASON_IDENTITY_UNAVAILABLE,
    ERROR_REASON_TOKEN_EXPIRED,
    ERROR_REASON_TOKEN_INVALID,
    ERROR_REASON_TOKEN_MISSING,
)

ISSUER = "https://issuer.example/realms/eo"
AUDIENCE = "workflow-runner"

PRIVATE_KEYS: dict[str, Any] = {
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "RS256": rsa.generate_private_key(65537, 2048),
}


def public_jwk(algorithm: str, key: Any = None, **members: Any) -> dict[str, Any]:
    private = key or PRIVATE_KEYS[algorithm]
    own = jwt.get_algorithm_by_name(algorithm).to_jwk(private.public_key(), as_dict=True)
    return {**own, "kid": algorithm, "alg": algorithm, "use": "sig", **members}


def claims(**changes: Any) -> dict[str, Any]:
    """The payload of a good token; a change to None leaves the claim out."""
    now = datetime.now(UTC)
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": now + timedelta(hours=2)}
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def token(payload: dict[str, Any] | None = None, *, algorithm: str = "EdDSA", key: Any = None, **header: Any) -> str:
    headers = {"kid": algorithm, **header}
    headers = {name: value for name, value in headers.items() if value is not None}
    return jwt.encode(payload or claims(), key or PRIVATE_KEYS[algorithm], algorithm=algorithm, headers=headers)


def raw_token(header: object, payload: object, signature: bytes = b"") -> str:
    def part(value: object) -> str:
        text = value if isinstance(value, bytes) else json.dumps(value).encode()
        return base64.urlsafe_b64encode(text).rstrip(b"=").decode()

    return f"{part(header)}.{part(payload)}.{part(signature)}"


def plain_claims(**changes: Any) -> dict[str, Any]:
    return {
        name: int(value.timestamp()) if isinstance(value, datetime) else value
        for name, value in claims(**changes).items()
    }


def write_keys(path: Path, *keys: dict[str, Any]) -> None:
    fresh = path.with_suffix(f".{uuid.uuid4()}")
    fresh.write_text(json.dumps({"keys": keys}))
    os.replace(fresh, path)


@pytest.fixture
def jwks(tmp_path) -> Path:
    path = tmp_path / "jwks.json"
    write_keys(path, *(public_jwk(algorithm) for algorithm in PRIVATE_KEYS))
    return path


@asynccontextmanager
async def verifying(jwks: Path | str, **settings: Any) -> AsyncIterator[TokenVerifier]:
    chosen = IdentitySettings(issuer=ISSUER, audience=(AUDIENCE,), jwks=str(jwks), **settings)
    async with TokenVerifier.open(chosen) as verifier:
        yield verifier


async def refusal(verifier: TokenVerifier, text: str) -> Unauthenticated:
    with pytest.raises(Unauthenticated) as caught:
        await verifier.verify(f"Bearer {text}")
    assert caught.value.headers["www-authenticate"].startswith('Bearer realm="workflow-runner", error="invalid_token"')
    assert text not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("algorithm", PRIVATE_KEYS)
async def test_a_good_token_tells_who_calls(jwks, algorithm):
    expiry = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)

    async with verifying(jwks) as verifier:
        subject = await verifier.verify(f"Bearer {token(claims(exp=expiry), algorithm=algorithm)}")

    assert (subject.id, subject.token_expiry, subject.anonymous) == ("ada", expiry, False)


async def test_without_a_token_the_caller_is_anonymous(jwks):
    async with verifying(jwks) as verifier:
        subject = await verifier.verify(None)

    assert (subject.id, dict(subject.claims), subject.token_expiry, subject.anonymous) == ("anonymous", {}, None, True)


@pytest.mark.parametrize("header", ["", " ", "Bearer", "Bearer ", "bearer   "])
async def test_an_empty_authorization_has_no_token(jwks, header):
    async with verifying(jwks) as verifier:
        with pytest.raises(Unauthenticated) as caught:
            await verifier.verify(header)

    assert caught.value.reason == ERROR_REASON_TOKEN_MISSING
    assert "www-authenticate" in caught.value.headers


@pytest.mark.parametrize("header", ["Basic YWRhOmxvdmVsYWNl", "Token x", "eyJhbGciOiJub25lIn0.e30."])
async def test_another_scheme_is_refused(jwks, header):
    async with verifying(jwks) as verifier:
        with pytest.raises(Unauthenticated) as caught:
            await verifier.verify(header)

    assert caught.value.reason == ERROR_REASON_TOKEN_INVALID


async def test_the_policy_sees_a_fixed_selection_of_claims(jwks):
    payload = claims(
        workspaces={"w": "owner", "v": ["owner"], "": "owner"},
        groups=["/floods", 7, None, "a\u0000b"],
        realm_access={"roles": ["hub_user"], "more": 1},
        workspace="w",
        scope=["openid"],
        email="ada@example.org",
        resource_access={"account": {"roles": ["manage"]}},
        **{"workspaces-owned": "w"},
    )

    async with verifying(jwks) as verifier:
        subject = await verifier.verify(f"Bearer {token(payload)}")

    assert dict(subject.claims) == {
        "workspaces": {"w": "owner"},
        "workspaces-owned": ["w"],
        "groups": ["/floods"],
        "realm_access": {"roles": ["hub_user"]},
        "workspace": "w",
    }


async def test_a_token_may_name_as_much_as_the_policy_can_bear(jwks):
    payload = claims(groups=[f"/g{number}" for number in range(ENTRIES_LIMIT - 1)], workspaces=["w"])

    async with verifying(jwks) as verifier:
        subject = await verifier.verify(f"Bearer {token(payload)}")

    assert len(subject.claims["groups"]) == ENTRIES_LIMIT - 1


async def test_claims_are_found_where_the_issuer_has_them(jwks):
    payload = claims(eo={"groups": ["/floods"]}, groups=["/not-these"])

    async with verifying(jwks, claims={"groups": ("eo", "groups")}) as verifier:
        subject = await verifier.verify(f"Bearer {token(payload)}")

    assert subject.claims["groups"] == ["/floods"]


def test_only_known_claims_can_be_placed_elsewhere(jwks):
    with pytest.raises(ValidationError):
        IdentitySettings(issuer=ISSUER, audience=(AUDIENCE,), jwks=str(jwks), claims={"sub": ("email",)})  # type: ignore[dict-item]


NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (claims(exp=NOW - timedelta(minutes=2)), ERROR_REASON_TOKEN_EXPIRED),
        (claims(exp=True), ERROR_REASON_TOKEN_EXPIRED),
        (claims(exp=-(10**30)), ERROR_REASON_TOKEN_EXPIRED),
        (claims(nbf=NOW + timedelta(hours=1)), ERROR_REASON_TOKEN_EXPIRED),
        (claims(iat=NOW + timedelta(hours=1)), ERROR_REASON_TOKEN_EXPIRED),
        (claims(exp=None), ERROR_REASON_TOKEN_INVALID),
        (claims(exp="tomorrow"), ERROR_REASON_TOKEN_INVALID),
        (claims(exp=[]), ERROR_REASON_TOKEN_INVALID),
        (claims(exp=10**30), ERROR_REASON_TOKEN_INVALID),
        (claims(exp=float("inf")), ERROR_REASON_TOKEN_INVALID),
        (claims(exp=float("nan")), ERROR_REASON_TOKEN_INVALID),
        (claims(nbf="later"), ERROR_REASON_TOKEN_INVALID),
        (claims(iss=None), ERROR_REASON_TOKEN_INVALID),
        (claims(iss="https://issuer.example/realms/eo/"), ERROR_REASON_TOKEN_INVALID),
        (claims(aud=None), ERROR_REASON_TOKEN_INVALID),
        (claims(aud="other-client"), ERROR_REASON_TOKEN_INVALID),
        (claims(aud=[]), ERROR_REASON_TOKEN_INVALID),
        (claims(aud=["other", 7]), ERROR_REASON_TOKEN_INVALID),
        (claims(aud="workflow-runner2"), ERROR_REASON_TOKEN_INVALID),
        (claims(sub=None), ERROR_REASON_TOKEN_INVALID),
        (claims(sub=""), ERROR_REASON_TOKEN_INVALID),
        (claims(sub="anonymous"), ERROR_REASON_TOKEN_INVALID),
        (claims(sub="ada\u0000"), ERROR_REASON_TOKEN_INVALID),
        (claims(sub="x" * 300), ERROR_REASON_TOKEN_INVALID),
        (claims(typ="ID"), ERROR_REASON_TOKEN_INVALID),
        (claims(typ="Refresh"), ERROR_REASON_TOKEN_INVALID),
        (claims(at_hash="x"), ERROR_REASON_TOKEN_INVALID),
        (claims(groups=[f"/g{number}" for number in range(ENTRIES_LIMIT + 1)]), ERROR_REASON_TOKEN_INVALID),
    ],
    ids=lambda value: repr(value)[:80] if isinstance(value, dict) else None,
)
async def test_a_token_whose_claims_do_not_hold_is_refused(jwks, payload, reason):
    async with verifying(jwks) as verifier:
        error = await refusal(verifier, token(payload))

    assert error.reason == reason


async def test_clocks_may_be_apart_by_the_leeway(jwks):
    late = claims(exp=datetime.now(UTC) - timedelta(seconds=20), nbf=datetime.now(UTC) + timedelta(seconds=20))

    async with verifying(jwks, leeway=timedelta(seconds=30)) as lenient:
        assert (await lenient.verify(f"Bearer {token(late)}")).id == "ada"
    async with verifying(jwks, leeway=timedelta(seconds=5)) as strict:
        assert (await refusal(strict, token(late))).reason == ERROR_REASON_TOKEN_EXPIRED


def test_the_leeway_is_at_most_a_minute(jwks):
    with pytest.raises(ValidationError):
        IdentitySettings(issuer=ISSUER, audience=(AUDIENCE,), jwks=str(jwks), leeway=timedelta(minutes=2))


def confused_with_public_key() -> str:
    """A token signed with the RSA public key as if it were a shared secret."""
    secret = PRIVATE_KEYS["RS256"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    unsigned = raw_token({"alg": "HS256", "typ": "JWT", "kid": "RS256"}, plain_claims()).rpartition(".")[0]
    signature = hmac.digest(secret, unsigned.encode(), "sha256")
    return f"{unsigned}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


FORGED = {
    "alg none": raw_token({"alg": "none", "typ": "JWT"}, plain_claims()),
    "alg None": raw_token({"alg": "None", "kid": "EdDSA"}, plain_claims()),
    "alg absent": raw_token({"kid": "EdDSA"}, plain_claims()),
    "alg is a list": raw_token({"alg": ["EdDSA"], "kid": "EdDSA"}, plain_claims()),
    "no signature": raw_token({"alg": "EdDSA", "kid": "EdDSA"}, plain_claims()),
    "HS256 with the public key": confused_with_public_key(),
    "HS256 with an empty secret": raw_token({"alg": "HS256", "kid": "EdDSA"}, plain_claims()),
    "another algorithm's key": raw_token({"alg": "RS256", "kid": "EdDSA"}, plain_claims(), b"x" * 256),
    "someone else's key": token(key=ed25519.Ed25519PrivateKey.generate()),
    "unknown kid": token(kid="somebody"),
    "kid is a path": token(kid="../../dev/null"),
    "kid is SQL": token(kid="' or 1=1"),
    "kid is a list": raw_token({"alg": "EdDSA", "kid": ["EdDSA"]}, plain_claims()),
    "crit": token(crit=["exp"]),
    "not an access token": token(typ="logout+jwt"),
    "typ is a number": raw_token({"alg": "EdDSA", "kid": "EdDSA", "typ": 1}, plain_claims()),
    "b64 false": raw_token({"alg": "EdDSA", "kid": "EdDSA", "b64": False}, plain_claims()),
    "no JWT": "opaque",
    "two dots only": "..",
    "many dots": "." * 1000,
    "not base64": "%%%.%%%.%%%",
    "header is a list": raw_token([], plain_claims()),
    "deep header": raw_token(b"[" * 8000, plain_claims()),
    "payload is a list": "",
    "not ASCII": "é.é.é",
    "a surrogate": "\ud800.x.y",
    "too long": "x" * (TOKEN_LIMIT_CHARS + 1),
}
FORGED["payload is a list"] = jwt.api_jws.encode(b"[]", PRIVATE_KEYS["EdDSA"], "EdDSA", {"kid": "EdDSA"})
FORGED["deep payload"] = jwt.api_jws.encode(b"[" * 8000, PRIVATE_KEYS["EdDSA"], "EdDSA", {"kid": "EdDSA"})


@pytest.mark.parametrize("text", FORGED.values(), ids=FORGED)
async def test_a_forged_token_is_refused(jwks, text):
    async with verifying(jwks) as verifier:
        error = await refusal(verifier, text)

    assert error.reason == ERROR_REASON_TOKEN_INVALID


async def test_a_tampered_payload_is_refused(jwks):
    header, payload, signature = token().split(".")
    other = token(claims(sub="grace")).split(".")[1]

    async with verifying(jwks) as verifier:
        assert (await verifier.verify(f"Bearer {header}.{payload}.{signature}")).id == "ada"
        await refusal(verifier, f"{header}.{other}.{signature}")


async def test_an_algorithm_that_the_settings_leave_out_is_refused(jwks):
    async with verifying(jwks, algorithms=("ES256",)) as verifier:
        assert (await verifier.verify(f"Bearer {token(algorithm='ES256')}")).id == "ada"
        await refusal(verifier, token(algorithm="RS256"))


@pytest.mark.parametrize(
    "key",
    [
        public_jwk("EdDSA", use="enc"),
        public_jwk("EdDSA", alg="ES256"),
        public_jwk("EdDSA", key_ops=["sign"]),
        public_jwk("EdDSA", kid=["EdDSA"]),
        public_jwk("EdDSA", x="AA"),
        public_jwk("EdDSA", kty="oct", k="c2VjcmV0"),
        "EdDSA",
        None,
    ],
    ids=["for encryption", "of another algorithm", "for signing", "odd id", "too short", "secret", "text", "null"],
)
async def test_a_key_that_is_not_for_this_is_left_out(jwks, key):
    write_keys(jwks, key, public_jwk("ES256"))

    async with verifying(jwks) as verifier:
        assert (await verifier.verify(f"Bearer {token(algorithm='ES256')}")).id == "ada"
        await refusal(verifier, token())


@pytest.mark.filterwarnings("ignore:The RSA key is 1024 bits long")  # The library warns of what is left out.
async def test_a_short_rsa_key_is_left_out(jwks):
    short = rsa.generate_private_key(65537, 1024)
    write_keys(jwks, public_jwk("RS256", short), public_jwk("ES256"))

    async with verifying(jwks) as verifier:
        await refusal(verifier, token(algorithm="RS256", key=short))


async def test_a_token_without_key_id_needs_a_single_key(jwks):
    async with verifying(jwks) as verifier:
        assert (await verifier.verify(f"Bearer {token(kid=None)}")).id == "ada"

        other = ed25519.Ed25519PrivateKey.generate()
        write_keys(jwks, public_jwk("EdDSA"), public_jwk("EdDSA", other, kid="other"))
        await refusal(verifier, token(kid=None))


async def test_a_changed_key_file_is_read_again(jwks):
    fresh = ed25519.Ed25519PrivateKey.generate()

    async with verifying(jwks) as verifier:
        await verifier.verify(f"Bearer {token()}")
        write_keys(jwks, public_jwk("EdDSA", fresh, kid="fresh"))

        assert (await verifier.verify(f"Bearer {token(key=fresh, kid='fresh')}")).id == "ada"
        await refusal(verifier, token())


@pytest.mark.parametrize("damage", ["gone", "half written", "no keys"])
async def test_keys_are_kept_while_their_file_cannot_be_used(jwks, damage):
    async with verifying(jwks) as verifier:
        await verifier.verify(f"Bearer {token()}")
        match damage:
            case "gone":
                jwks.unlink()
            case "half written":
                jwks.write_text(jwks.read_text()[:40])
            case "no keys":
                write_keys(jwks)

        assert (await verifier.verify(f"Bearer {token()}")).id == "ada"


async def test_without_any_key_nobody_is_believed_until_there_is_one(tmp_path):
    path = tmp_path / "later.json"

    async with verifying(path) as verifier:
        assert (await verifier.verify(None)).anonymous
        with pytest.raises(Unavailable) as caught:
            await verifier.verify(f"Bearer {token()}")
        assert caught.value.reason == ERROR_REASON_IDENTITY_UNAVAILABLE

        write_keys(path, public_jwk("EdDSA"))
        assert (await verifier.verify(f"Bearer {token()}")).id == "ada"


class Issuer:
    """An issuer of which the test decides the answers."""

    def __init__(self) -> None:
        self.keys = [public_jwk(algorithm) for algorithm in PRIVATE_KEYS]
        self.status = 200
        self.hits = 0
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.hits += 1
        if self.status == 302:
            raise web.HTTPFound("/elsewhere")
        return web.json_response({"keys": self.keys}, status=self.status)


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Issuer], Awaitable[Issuer]]]:
    runners = []

    async def start(issuer: Issuer) -> Issuer:
        application = web.Application()
        application.router.add_get("/{path:.*}", issuer.answer)
        runner = web.AppRunner(application)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks"
        return issuer

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
def clock(monkeypatch) -> Callable[[timedelta], None]:
    """Moves the clock of the signing keys."""
    moved = timedelta()

    def move(by: timedelta) -> None:
        nonlocal moved
        moved += by

    monkeypatch.setattr(signing_keys, "monotonic", lambda: monotonic() + moved.total_seconds())
    return move


async def test_ten_thousand_unknown_keys_ask_the_issuer_once_a_minute(serve, clock):
    issuer = await serve(Issuer())
    forged = [token(kid=str(uuid.uuid4())) for _ in range(100)]

    async with verifying(issuer.url) as verifier:
        assert issuer.hits == 1
        clock(timedelta(seconds=61))
        for _ in range(100):
            answers = await asyncio.gather(
                *(verifier.verify(f"Bearer {text}") for text in forged), return_exceptions=True
            )
            assert {type(answer) for answer in answers} == {Unauthenticated}

    assert issuer.hits == 2


async def test_a_new_key_is_found_within_a_minute(serve, clock):
    issuer = await serve(Issuer())
    fresh = ed25519.Ed25519PrivateKey.generate()

    async with verifying(issuer.url) as verifier:
        issuer.keys.append(public_jwk("EdDSA", fresh, kid="fresh"))
        await refusal(verifier, token(key=fresh, kid="fresh"))

        clock(timedelta(seconds=60))
        assert (await verifier.verify(f"Bearer {token(key=fresh, kid='fresh')}")).id == "ada"
        assert (await verifier.verify(f"Bearer {token()}")).id == "ada"


@pytest.mark.parametrize("answer", ["500", "302", "no keys"])
async def test_keys_are_kept_while_the_issuer_is_away(serve, clock, answer):
    issuer = await serve(Issuer())

    async with verifying(issuer.url) as verifier:
        issuer.status = int(answer) if answer.isdigit() else 200
        issuer.keys = []
        clock(timedelta(minutes=10))
        await refusal(verifier, token(kid="unknown"))

        assert (await verifier.verify(f"Bearer {token()}")).id == "ada"
        assert issuer.hits == 2


async def test_a_withdrawn_key_ends_with_the_next_key_set(serve, clock):
    issuer = await serve(Issuer())

    async with verifying(issuer.url) as verifier:
        issuer.keys = [public_jwk("ES256")]
        assert (await verifier.verify(f"Bearer {token()}")).id == "ada"

        clock(timedelta(minutes=10))
        await refusal(verifier, token(kid="unknown"))
        await refusal(verifier, token())


async def test_an_issuer_that_is_away_at_the_start_is_asked_again(serve, monkeypatch):
    monkeypatch.setattr(signing_keys, "FIRST_RETRY", timedelta(milliseconds=10))
    issuer = Issuer()
    issuer.status = 503
    await serve(issuer)

    async with verifying(issuer.url) as verifier:
        with pytest.raises(Unavailable) as caught:
            await verifier.verify(f"Bearer {token()}")
        assert caught.value.reason == ERROR_REASON_IDENTITY_UNAVAILABLE

        issuer.status = 200
        async with asyncio.timeout(5):
            while True:
                try:
                    assert (await verifier.verify(f"Bearer {token()}")).id == "ada"
                    break
                except Unavailable:
                    await asyncio.sleep(0.01)


@pytest.mark.parametrize("name", ["jku", "x5u", "jwk", "x5c"])
async def test_a_place_for_keys_in_the_token_is_not_looked_at(serve, jwks, name):
    attacker = await serve(Issuer())
    own = ed25519.Ed25519PrivateKey.generate()
    attacker.keys = [public_jwk("EdDSA", own, kid="own")]
    value = {"jwk": attacker.keys[0], "x5c": ["AAAA"]}.get(name, attacker.url)

    async with verifying(jwks) as verifier:
        await refusal(verifier, token(key=own, kid="own", **{name: value}))

    assert attacker.hits == 0


def test_a_token_that_was_verified_is_known_until_it_expires() -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    recent = RecentTokens(lambda: now)
    subject = Subject(id="ada", claims={}, token_expiry=now + timedelta(seconds=5))
    verified = VerifiedToken(subject, "kid", "EdDSA", cast(jwt.PyJWK, object()))

    recent.keep("token", verified)
    assert verified is recent.get("token")
    assert recent.get("other") is None

    now += timedelta(seconds=5)
    assert recent.get("token") is None
