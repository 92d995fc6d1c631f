"""Reads of the database that many ask for at once, such as all who watch one job when it ends."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Any, TypeVar

Value = TypeVar("Value")


class SharedReads:
    """Reads once for all who ask for the same, and few things at a time.

    Nobody gets what was read before he asked: whoever comes while a read is under way shares the next one. However
    many ask, they wait here, and leave connections for others.
    """

    def __init__(self, at_once: int) -> None:
        self._room = asyncio.Semaphore(at_once)
        self._waiting: dict[Hashable, asyncio.Task[Any]] = {}
        self._under_way: dict[Hashable, asyncio.Task[Any]] = {}

    async def read(self, key: Hashable, read: Callable[[], Awaitable[Value]]) -> Value:
        """Answers what `read` does; `key` is the same for what reads the same. Raises what it raises."""
        task = self._waiting.get(key)
        if task is None:
            task = self._waiting[key] = asyncio.create_task(self._run(key, read))
            # Those who asked may all have gone before it failed.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        # Who goes leaves the others their read.
        value: Value = await asyncio.shield(task)
        return value

    def reader(self, name: str, read: Callable[[Any], Awaitable[Value]]) -> Callable[[Any], Awaitable[Value]]:
        """The same read, shared by all who ask for the same argument."""

        async def shared(argument: Any) -> Value:
            return await self.read((name, argument), partial(read, argument))

        return shared

    async def _run(self, key: Hashable, read: Callable[[], Awaitable[Value]]) -> Value:
        if (before := self._under_way.get(key)) is not None:
            await asyncio.wait([before])
        async with self._room:
            self._under_way[key] = self._waiting.pop(key)
            try:
                return await read()
            finally:
                del self._under_way[key]
