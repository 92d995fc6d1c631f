"""Reads that many ask for at once."""

import asyncio

import pytest

from services.status.shared_reads import SharedReads


class Table:
    """Counts the reads of a value, which each begin when they are let."""

    def __init__(self) -> None:
        self.value = 0
        self.reads = 0
        self.most = 0
        self._at_once = 0
        self.open = asyncio.Event()

    async def read(self) -> int:
        found = self.value
        self.reads += 1
        self._at_once += 1
        self.most = max(self.most, self._at_once)
        await self.open.wait()
        self._at_once -= 1
        if found < 0:
            raise LookupError(found)
        return found


async def test_many_share_a_read_and_nobody_gets_an_old_one() -> None:
    table, reads = Table(), SharedReads(at_once=2)
    early = [asyncio.create_task(reads.read("a", table.read)) for _ in range(100)]
    while not table.reads:
        await asyncio.sleep(0)
    table.value = 1
    late = [asyncio.create_task(reads.read("a", table.read)) for _ in range(100)]
    await asyncio.sleep(0)
    table.open.set()

    assert [0] * 100 == await asyncio.gather(*early)
    assert [1] * 100 == await asyncio.gather(*late)
    assert 2 == table.reads


async def test_few_reads_are_under_way_at_once() -> None:
    table, reads = Table(), SharedReads(at_once=3)
    tasks = [asyncio.create_task(reads.read(key, table.read)) for key in range(50)]
    while table.reads < 3:
        await asyncio.sleep(0)
    table.open.set()
    await asyncio.gather(*tasks)

    assert (50, 3) == (table.reads, table.most)


async def test_a_failure_is_that_of_all_who_shared_it_and_of_nobody_else() -> None:
    table, reads = Table(), SharedReads(at_once=1)
    table.value = -1
    tasks = [asyncio.create_task(reads.read("a", table.read)) for _ in range(3)]
    await asyncio.sleep(0)
    table.open.set()

    assert [LookupError] * 3 == [type(error) for error in await asyncio.gather(*tasks, return_exceptions=True)]
    table.value = 5
    assert 5 == await reads.read("a", table.read)


async def test_who_goes_leaves_the_others_their_read() -> None:
    table, reads = Table(), SharedReads(at_once=1)
    first, second = (asyncio.create_task(reads.read("a", table.read)) for _ in range(2))
    while not table.reads:
        await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    table.open.set()

    assert 0 == await second
