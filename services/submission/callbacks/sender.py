"""Subscribers of jobs: who is one, and how they are told."""

import time
from base64 import b64encode
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import orjson
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.ogc.presenters import job_message
from services.ogc.requests import RestRequest
from services.ogc.results.documents import document
from services.shared.errors import InvalidArgument, ServiceError, Violation
from services.shared.messages import to_json
from services.submission.callbacks.store import CallbackStore, Delivery
from services.submission.staging.fetcher import Fetcher
from workflow_runner.v1.error_reason_pb2 import ERROR_REASON_INVALID_EXECUTE_REQUEST, ERROR_REASON_URL_REFUSED

log = structlog.get_logger()

MEMBERS = {"successUri": "success_uri", "inProgressUri": "in_progress_uri", "failedUri": "failed_uri"}
KEYS_LAST = timedelta(minutes=1)
"""How long a sender goes on with the keys it has read; a rotation takes so long to be seen."""

Keys = Callable[[], Awaitable[list[bytes]]]


async def read_subscriber(given: dict[str, Any] | None, root: str, fetcher: Fetcher) -> dict[str, str] | None:
    """Reads the `subscriber` of an execute request (`subscriber.yaml`: any of its three URIs).

    Raises INVALID_EXECUTE_REQUEST, and URL_REFUSED for a place that is not sent to; it is looked at again at delivery.
    """
    if not given:
        return None
    subscriber = {"root": root}
    for member, kept in MEMBERS.items():
        uri = given.get(member)
        if uri is None:
            continue
        pointer = f"/subscriber/{member}"
        if not isinstance(uri, str):
            raise InvalidArgument(
                ERROR_REASON_INVALID_EXECUTE_REQUEST,
                "{member} must be a string.",
                violations=[Violation(pointer, "This must be a string.")],
                member=member,
            )
        try:
            await fetcher.check(uri)
        except InvalidArgument as refusal:
            # What a fetcher advises is for what has content.
            problem = refusal.metadata.get("problem", "it is not a place that is sent to")
            sentence = f"Nothing is sent there: {problem}. Give a public https address."
            raise InvalidArgument(
                refusal.reason,
                "{member} cannot be used. {sentence}",
                violations=[Violation(pointer, sentence)],
                member=member,
                sentence=sentence,
                url=refusal.metadata.get("url", ""),
            ) from refusal
        subscriber[kept] = uri
    return subscriber if len(subscriber) > 1 else None


class Sender:
    """Delivers one message after the other."""

    def __init__(self, callbacks: CallbackStore, fetcher: Fetcher, keys: Keys) -> None:
        self._callbacks = callbacks
        self._fetcher = fetcher
        self._keys = keys
        self._read: tuple[float, list[Ed25519PrivateKey]] = (0.0, [])

    async def step(self) -> bool:
        """Delivers a message that is due."""
        delivery = await self._callbacks.claim()
        if delivery is None:
            return False
        body = body_of(delivery)
        identifier, moment = str(delivery.callback_id), str(int(time.time()))
        headers = {
            "content-type": "application/json",
            "webhook-id": identifier,
            "webhook-timestamp": moment,
            "webhook-signature": sign(await self._signers(), identifier, moment, body),
        }
        try:
            status = await self._fetcher.post(delivery.uri, body, headers)
        except ServiceError as refusal:
            for_good = refusal.reason == ERROR_REASON_URL_REFUSED
            await self._callbacks.failed(delivery, refusal.message, for_good=for_good)
            return True
        if 200 <= status < 300:
            await self._callbacks.delivered(delivery)
        else:
            # 410 says that the subscriber wants no more of it (Standard Webhooks).
            await self._callbacks.failed(delivery, f"The subscriber answered {status}.", for_good=status == 410)
        return True

    async def _signers(self) -> list[Ed25519PrivateKey]:
        read_at, signers = self._read
        if not signers or time.monotonic() - read_at > KEYS_LAST.total_seconds():
            signers = [Ed25519PrivateKey.from_private_bytes(key) for key in await self._keys()]
            self._read = (time.monotonic(), signers)
        return signers


def body_of(delivery: Delivery) -> bytes:
    """What the subscriber is told: the results of a job that was successful, otherwise how it stands."""
    rest = RestRequest(path="", root=delivery.root, headers={})
    if delivery.kind == "success":
        return orjson.dumps(document(delivery.job, rest))
    return to_json(job_message(delivery.job, rest))


def sign(signers: list[Ed25519PrivateKey], identifier: str, moment: str, body: bytes) -> str:
    """The `webhook-signature` of a message: `v1a` signatures of `{id}.{timestamp}.{body}`, one for each key, as
    Standard Webhooks has it."""
    content = b".".join((identifier.encode(), moment.encode(), body))
    return " ".join(f"v1a,{b64encode(signer.sign(content)).decode()}" for signer in signers)
