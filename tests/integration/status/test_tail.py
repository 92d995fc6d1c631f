"""The tail sees every event, however the transactions of the writers overlap."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest

from services.shared.postgres import Database
from services.standalone.postgres import DatabaseAddresses
from services.status.events import NEWEST, Cursor, EventStore
from services.status.tail import ROOM, EventTail, News, Subscription
from tests.integration.status.records import Records, add_event

WRITERS = 8
ROUNDS = 60


@pytest.fixture
async def writing(database: DatabaseAddresses) -> AsyncIterator[Database]:
    async with Database.open(database.submission, application="writers", connections=WRITERS) as opened:
        yield opened


async def test_eight_writers_at_once_hide_no_event_from_the_tail(
    reading: Database, writing: Database, records: Records
) -> None:
    await records.process()
    jobs = [await records.job(state="running") for _ in range(WRITERS)]
    store = EventStore(reading)
    cursor = await store.position()
    seen: set[tuple[UUID, int]] = set()
    naive: set[int] = set()
    written: set[tuple[UUID, int]] = set()
    highest = 0

    async def write(number: int) -> None:
        draw = random.Random(number)
        for _ in range(ROUNDS):
            async with writing.transaction() as connection:
                # Two jobs in one order for all, so that no two writers wait for each other.
                for job_id in sorted(draw.sample(jobs, 2)):
                    written.add((job_id, await add_event(connection, job_id, "progress", {"progress": 1})))
                    # Holds the transaction open, so that numbers given out later become visible earlier.
                    await asyncio.sleep(draw.random() * 0.004)

    async def look() -> bool:
        nonlocal cursor
        reading_now = await store.newest(cursor, limit=50)
        cursor = reading_now.cursor
        found = {(event.job_id, event.sequence) for event in reading_now.events}
        assert not found & seen
        seen.update(found)
        return bool(found)

    async def look_naively() -> None:
        nonlocal highest
        rows = await reading.fetch("SELECT id FROM job_events WHERE id > $1 ORDER BY id", highest)
        naive.update(row["id"] for row in rows)
        highest = max(naive, default=0)

    await look_naively()
    before = len(naive)
    writers = [asyncio.create_task(write(number)) for number in range(WRITERS)]
    while not all(writer.done() for writer in writers):
        await asyncio.gather(look(), look_naively())
    await asyncio.gather(*writers)
    while await look():
        pass
    await look_naively()

    assert written == seen
    # The events were written so that a tail by number alone does miss some; otherwise this test would show nothing.
    assert len(naive) - before < len(written)


async def next_news(tail: EventTail, subscription: Subscription) -> News:
    """Looks until there is news: a transaction in any database of the server, of other tests too, holds it back."""
    async with asyncio.timeout(30):
        while True:
            await tail.step()
            if (news := await subscription.take(timedelta(0))) is not None:
                return news


async def test_the_events_of_one_job_are_whole_although_the_tail_sees_them_out_of_order(
    reading: Database, writing: Database, records: Records
) -> None:
    await records.process()
    job_id = await records.job(state="running")
    other = await records.job(state="running")
    tail = EventTail(EventStore(reading))

    async with tail.subscribe(job_id) as subscription:
        async with writing.connection() as early, writing.connection() as late:
            begun = early.transaction()
            await begun.start()
            # Takes the smaller transaction number, and the larger sequence.
            await add_event(early, other, "progress", {"progress": 1})
            async with late.transaction():
                await add_event(late, job_id, "progress", {"progress": 1})
            await tail.step()
            nothing = await subscription.take(timedelta(0))
            await add_event(early, job_id, "progress", {"progress": 2})
            await begun.commit()
        seen: list[int] = []
        while not {3, 4} <= set(seen):
            seen += [event.sequence for event in (await next_news(tail, subscription)).events]

    # What was there before may come again; it is the watcher who knows what it has seen.
    assert nothing is None or {event.sequence for event in nothing.events} <= {1, 2}
    assert [4, 3] == [sequence for sequence in seen if sequence > 2]


async def test_a_full_queue_is_dropped_and_says_so(reading: Database, records: Records) -> None:
    await records.process()
    job_id = await records.job(state="running")
    tail = EventTail(EventStore(reading))

    async with tail.subscribe(job_id) as subscription:
        for _ in range(ROOM + 10):
            await records.event(job_id, "progress", {"progress": 1})
        while not (news := await next_news(tail, subscription)).missed:
            pass

    assert news.missed
    assert len(news.events) <= ROOM


async def test_a_tail_whose_place_is_from_another_database_begins_again(reading: Database, records: Records) -> None:
    await records.process()
    job_id = await records.job(state="running")
    tail = EventTail(EventStore(reading))

    async with tail.subscribe(job_id) as subscription:
        tail._cursor = Cursor(2**40, 0)
        again = await tail.step()
        missed = await subscription.take(timedelta(seconds=1))
        await records.event(job_id, "progress", {"progress": 1})
        news = await next_news(tail, subscription)

    assert again
    assert missed is not None
    assert missed.missed
    assert [3] == [event.sequence for event in news.events]


async def test_the_tail_reads_from_an_index(reading: Database, records: Records) -> None:
    await records.process()
    job_id = await records.job(state="running")
    await records.execute(
        """
        INSERT INTO job_events (job_id, sequence, kind, details)
        SELECT $1, sequence, 'progress', '{}' FROM generate_series(3, 5000) AS sequence
        """,
        job_id,
    )
    await records.execute("ANALYZE job_events")
    cursor = await EventStore(reading).position()

    for place in (cursor.xid, 0):
        rows = await reading.fetch(f"EXPLAIN {NEWEST}", str(place), 0, 1000)
        plan = "\n".join(row["QUERY PLAN"] for row in rows)
        assert "job_events_tail" in plan
        assert "Seq Scan" not in plan


async def test_nobody_is_asked_while_nobody_watches(records: Records) -> None:
    class Untouchable:
        def __getattr__(self, name: str) -> object:
            raise AssertionError(f"the database was asked for {name}")

    tail = EventTail(Untouchable())  # type: ignore[arg-type]

    assert not await tail.step()
