"""Subscribers are told of their jobs, at least once, in order, signed, and nowhere that they must not be."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from services.records.jobs import Job
from services.shared.errors import InvalidArgument
from services.shared.names import ProcessName
from services.shared.postgres import Database
from services.standalone.postgres import DatabaseAddresses
from services.status.callbacks import CallbackListStore
from services.submission.acceptance import Caller, JobStore
from services.submission.builtin.echo import ECHO, echo
from services.submission.callbacks.sender import Sender, read_subscriber
from services.submission.callbacks.store import CallbackStore, signing_keys
from services.submission.dispatch.progress import Ending, Progress
from services.submission.dispatch.queue import Claim, Lane, Queue
from services.submission.processes import ProcessStore
from services.submission.staging.fetcher import Fetcher

ROOT = "https://eo.example"
BUILTIN = Lane(backend="builtin")
LOCAL = ip_network("127.0.0.0/8")


@dataclass
class Subscriber:
    """A server that is told."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    """The statuses of the next answers; 200 when there are no more."""
    received: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in self.received]


@pytest.fixture
async def subscriber() -> AsyncIterator[Subscriber]:
    told = Subscriber()

    async def take(request: web.Request) -> web.Response:
        told.received.append((request.path, dict(request.headers), await request.read()))
        return web.Response(status=told.answers.pop(0) if told.answers else 200)

    application = web.Application()
    application.router.add_post("/{kind}", take)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    told.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield told
    await runner.cleanup()


@dataclass
class Rig:
    """The stores, and a sender."""

    database: Database
    jobs: JobStore
    queue: Queue
    sender: Sender
    fetcher: Fetcher

    async def accept(self, subscriber: dict[str, Any] | None) -> Job:
        store = ProcessStore(self.database)
        await store.install(ECHO, echo())
        process = await store.get(ProcessName("ada", ECHO))
        return await self.jobs.accept(
            process,
            {"inputs": {"message": "x"}},
            Caller(subject="ada", workspace="ada"),
            idempotency_key=None,
            subscriber=await read_subscriber(subscriber, ROOT, self.fetcher),
        )

    async def launch(self) -> Claim:
        (claim,) = await self.queue.claim_unstaged(BUILTIN, limit=1)
        assert await self.queue.launched(claim, "handle")
        return await self.look()

    async def look(self) -> Claim:
        (claim,) = await self.queue.claim(BUILTIN, "running", limit=1)
        return claim

    async def end(self, claim: Claim, state: str = "successful") -> None:
        failure = {"reason": "STEP_FAILED", "message": "Step a ended with exit code 3."} if state == "failed" else None
        results = {"message": {"value": "x"}} if state == "successful" else None
        await self.queue.end(claim, None, Ending(state=state, message="Over.", failure=failure, results=results))

    async def send_all(self) -> None:
        while await self.sender.step():
            pass

    async def states(self) -> list[tuple[str, str, int]]:
        rows = await self.database.fetch("SELECT kind, state, attempts FROM callbacks ORDER BY callback_id")
        return [(row["kind"], row["state"], row["attempts"]) for row in rows]

    async def make_due(self) -> None:
        await self.database.execute("UPDATE callbacks SET due_time = now(), lease_time = NULL")


@pytest.fixture
async def rig(database: DatabaseAddresses) -> AsyncIterator[Rig]:
    async with (
        Database.open(database.submission, application="test") as opened,
        Fetcher(allow_http_hosts=frozenset({"127.0.0.1"}), allowed_networks=(LOCAL,)) as fetcher,
    ):
        yield Rig(
            opened,
            JobStore(opened),
            Queue(opened),
            Sender(CallbackStore(opened), fetcher, lambda: signing_keys(opened)),
            fetcher,
        )


def all_uris(url: str) -> dict[str, str]:
    return {"successUri": f"{url}/success", "inProgressUri": f"{url}/progress", "failedUri": f"{url}/failure"}


async def test_a_subscriber_is_told_in_order_and_gets_the_results(rig: Rig, subscriber: Subscriber) -> None:
    await rig.accept(all_uris(subscriber.url))
    claim = await rig.launch()
    await rig.send_all()
    await rig.queue.record(claim, Progress(cursor="", percent=50), due_in=timedelta(0))
    claim = await rig.look()
    await rig.send_all()
    await rig.end(claim)
    await rig.send_all()

    assert ["/progress", "/progress", "/success"] == [path for path, _, _ in subscriber.received]
    running, half, results = subscriber.bodies()
    assert ("running", 50) == (running["status"], half["progress"])
    assert {"message": "x"} == results
    assert running["links"][0]["href"].startswith(f"{ROOT}/workspaces/ada/jobs/")
    assert {"delivered"} == {state for _, state, _ in await rig.states()}


@pytest.mark.parametrize("state", ["failed", "dismissed"])
async def test_a_job_that_has_no_results_is_told_as_failed(rig: Rig, subscriber: Subscriber, state: str) -> None:
    await rig.accept({"failedUri": f"{subscriber.url}/failure"})
    claim = await rig.launch()

    await rig.end(claim, state)
    await rig.send_all()

    assert [state] == [body["status"] for body in subscriber.bodies()]


async def test_a_message_is_verified_as_the_documentation_says(
    rig: Rig, subscriber: Subscriber, database: DatabaseAddresses
) -> None:
    page = (Path(__file__).parents[3] / "docs/callbacks.md").read_text()
    documented: dict[str, Any] = {}
    exec(page.split("```python")[1].split("```")[0], documented)
    await rig.accept({"inProgressUri": f"{subscriber.url}/progress"})
    await rig.launch()
    await rig.send_all()
    async with Database.open(database.status, application="test") as opened:
        keys = await CallbackListStore(opened).public_keys()

    _, headers, body = subscriber.received[0]
    old = headers | {"webhook-timestamp": str(int(headers["webhook-timestamp"]) - 600)}
    assert documented["verify"](headers, body, keys)
    assert not documented["verify"](headers, body + b" ", keys)
    assert not documented["verify"](old, body, keys)


async def test_a_refused_message_is_tried_again_with_the_same_id(rig: Rig, subscriber: Subscriber) -> None:
    subscriber.answers = [500, 302, 200]
    await rig.accept({"inProgressUri": f"{subscriber.url}/progress"})
    await rig.launch()
    for _ in range(3):
        await rig.send_all()
        await rig.make_due()

    assert [("progress", "delivered", 3)] == await rig.states()
    assert 1 == len({headers["webhook-id"] for _, headers, _ in subscriber.received})


async def test_a_message_waits_longer_after_each_attempt_and_is_given_up_in_the_end(
    rig: Rig, subscriber: Subscriber
) -> None:
    subscriber.answers = [503] * 20
    await rig.accept({"inProgressUri": f"{subscriber.url}/progress"})
    await rig.launch()
    waits = []
    for _ in range(14):
        await rig.send_all()
        waits.append(await rig.database.fetchval("SELECT due_time - now() FROM callbacks"))
        await rig.make_due()

    assert [("progress", "dead", 12)] == await rig.states()
    assert waits[:11] == sorted(waits[:11])
    assert "The subscriber answered 503." == await rig.database.fetchval("SELECT message FROM callbacks")


async def test_a_subscriber_that_is_gone_is_not_told_again(rig: Rig, subscriber: Subscriber) -> None:
    subscriber.answers = [410]
    await rig.accept({"inProgressUri": f"{subscriber.url}/progress"})
    await rig.launch()
    await rig.send_all()

    assert [("progress", "dead", 1)] == await rig.states()


async def test_a_later_message_waits_for_the_one_before_it(rig: Rig, subscriber: Subscriber) -> None:
    subscriber.answers = [500]
    await rig.accept(all_uris(subscriber.url))
    claim = await rig.launch()
    await rig.send_all()
    await rig.end(claim)

    await rig.send_all()
    assert ["/progress"] == [path for path, _, _ in subscriber.received]

    await rig.make_due()
    await rig.send_all()
    assert ["/progress", "/progress", "/success"] == [path for path, _, _ in subscriber.received]


async def test_progress_that_was_not_told_yet_is_told_once(rig: Rig, subscriber: Subscriber) -> None:
    await rig.accept({"inProgressUri": f"{subscriber.url}/progress"})
    claim = await rig.launch()
    for percent in (10, 20, 30):
        await rig.queue.record(claim, Progress(cursor="", percent=percent), due_in=timedelta(0))
        claim = await rig.look()
    await rig.send_all()

    assert [30] == [body["progress"] for body in subscriber.bodies()]


async def test_a_sender_that_dies_loses_no_message(rig: Rig, subscriber: Subscriber) -> None:
    await rig.accept({"inProgressUri": f"{subscriber.url}/progress"})
    await rig.launch()
    store = CallbackStore(rig.database)

    assert await store.claim() is not None
    assert not await rig.sender.step()
    await rig.database.execute("UPDATE callbacks SET lease_time = now() - interval '1 second'")
    await rig.send_all()

    assert [("progress", "delivered", 2)] == await rig.states()


async def test_a_sender_that_was_overtaken_records_nothing(rig: Rig, subscriber: Subscriber) -> None:
    await rig.accept({"inProgressUri": f"{subscriber.url}/progress"})
    await rig.launch()
    store = CallbackStore(rig.database)
    late = await store.claim()
    assert late is not None
    await rig.database.execute("UPDATE callbacks SET lease_time = now() - interval '1 second'")
    await rig.send_all()

    await store.failed(late, "too late", for_good=True)

    assert [("progress", "delivered", 2)] == await rig.states()


async def test_one_destination_is_told_one_message_at_a_time(rig: Rig, subscriber: Subscriber) -> None:
    for _ in range(2):
        await rig.accept({"inProgressUri": f"{subscriber.url}/progress"})
        await rig.launch()
    store = CallbackStore(rig.database)

    claims = await asyncio.gather(*(store.claim() for _ in range(4)))

    assert 1 == len([claim for claim in claims if claim])


@pytest.mark.parametrize(
    "uri",
    [
        "http://169.254.169.254/latest",
        "https://169.254.169.254/latest",
        "https://[::ffff:169.254.169.254]/",
        "https://localhost/",
        "https://10.0.0.1/",
        "ftp://eo.example/x",
        "file:///etc/passwd",
        "https://user:secret@eo.example/",
        "https://eo.example:22/",
        "javascript:alert(1)",
        "",
    ],
)
async def test_a_place_that_must_not_be_told_is_refused_with_the_job(rig: Rig, uri: str) -> None:
    async with Fetcher() as guarded:
        with pytest.raises(InvalidArgument) as refused:
            await read_subscriber({"successUri": uri}, ROOT, guarded)

    assert refused.value.reason_name in ("URL_REFUSED", "FETCH_FAILED")
    assert "/subscriber/successUri" == refused.value.violations[0].pointer


async def test_a_place_that_became_private_is_not_told(rig: Rig, subscriber: Subscriber) -> None:
    """As with a name that leads elsewhere since the job was accepted: what counts is the address at delivery."""
    await rig.accept({"inProgressUri": f"{subscriber.url}/progress"})
    await rig.launch()
    async with Fetcher() as guarded:
        sender = Sender(CallbackStore(rig.database), guarded, lambda: signing_keys(rig.database))
        await sender.step()

    assert [] == subscriber.received
    assert [("progress", "dead", 1)] == await rig.states()


async def test_without_a_subscriber_there_is_nothing_to_tell(rig: Rig) -> None:
    await rig.accept(None)
    claim = await rig.launch()
    await rig.end(claim)

    assert [] == await rig.states()
