"""The policy in a real OPA, asked over its REST API.

One POST per decision, over a unix socket or HTTP, within a deadline that covers everything. A connection that OPA
closed while it was idle is replaced once within that deadline. After several failures in a row the engine stops asking
for a moment, so that an OPA that hangs does not hold up every call for the whole deadline.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Self

import aiohttp
import orjson
import structlog

from services.access.policy.decision import (
    Decision,
    MalformedDecision,
    PolicyInput,
    parse_decision,
    refused,
    unavailable,
)

ANSWER_LIMIT_BYTES = 1 << 20
FAILURES_TO_OPEN = 5
PAUSE = timedelta(milliseconds=500)
"""How long OPA is left alone after failures in a row. Well under the two seconds in which calls have to work again."""

log = structlog.get_logger(__name__)


class _Breaker:
    """Says whether to ask: after enough failures in a row only one call per pause is let through, to find out."""

    def __init__(self) -> None:
        self._failures = 0
        self._closed_until = 0.0

    def lets_through(self) -> bool:
        now = time.monotonic()
        if self._failures < FAILURES_TO_OPEN:
            return True
        if now < self._closed_until:
            return False
        self._closed_until = now + PAUSE.total_seconds()
        return True

    def succeeded(self) -> None:
        if self._failures >= FAILURES_TO_OPEN:
            log.info("OPA answers again.")
        self._failures = 0

    def failed(self, error: Exception) -> None:
        self._failures += 1
        self._closed_until = time.monotonic() + PAUSE.total_seconds()
        if self._failures == FAILURES_TO_OPEN:
            log.warning("OPA gives no answers; calls are refused until it does.", error=repr(error)[:500])


class OpaEngine:
    """Asks OPA. Waits at most the deadline."""

    def __init__(self, session: aiohttp.ClientSession, decision_url: str, *, deadline: timedelta) -> None:
        self._session = session
        self._decision_url = decision_url
        self._deadline = deadline.total_seconds()
        self._breaker = _Breaker()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str,
        *,
        socket: Path | None = None,
        decision_path: str = "workflow_runner/authz/decision",
        deadline: timedelta = timedelta(milliseconds=100),
        token: str | None = None,
    ) -> AsyncIterator[Self]:
        """Opens the engine; OPA itself need not be there yet. `token` goes to an OPA that asks for one."""
        connector = aiohttp.UnixConnector(str(socket)) if socket else aiohttp.TCPConnector()
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        async with aiohttp.ClientSession(connector=connector, headers=headers, trust_env=False) as session:
            yield cls(session, f"{url.rstrip('/')}/v1/data/{decision_path.strip('/')}", deadline=deadline)

    async def decide(self, query: PolicyInput) -> Decision:
        """Answers, or raises Unavailable when OPA does not answer in time and in the documented shape."""
        try:
            body = b'{"input":' + query.to_json() + b"}"
        except TypeError:
            return refused("invalid_input")
        if not self._breaker.lets_through():
            raise unavailable("opa")
        try:
            async with asyncio.timeout(self._deadline):
                decision = parse_decision(query, await self._ask(body))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, MalformedDecision) as error:
            self._breaker.failed(error)
            raise unavailable("opa") from error
        self._breaker.succeeded()
        return decision

    async def _ask(self, body: bytes) -> object:
        try:
            return await self._post(body)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            # A decision changes nothing, so asking once more is safe.
            return await self._post(body)

    async def _post(self, body: bytes) -> object:
        async with self._session.post(self._decision_url, data=body, allow_redirects=False) as response:
            if response.status != 200:
                raise MalformedDecision(f"OPA answered with status {response.status}")
            answer = bytearray()
            async for chunk in response.content.iter_any():
                answer += chunk
                if len(answer) > ANSWER_LIMIT_BYTES:
                    raise MalformedDecision("OPA's answer is too large")
        document = orjson.loads(answer)
        if not isinstance(document, dict) or "result" not in document:
            raise MalformedDecision("the decision is undefined")
        return document["result"]
