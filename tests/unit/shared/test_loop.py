"""The one endless loop."""

import asyncio
from datetime import timedelta

from services.shared.loop import Loop

LONG = timedelta(minutes=1)


async def test_it_goes_on_at_once_while_there_is_work() -> None:
    steps = 0

    async def step() -> bool:
        nonlocal steps
        steps += 1
        if steps == 5:
            loop.stop()
        return True

    loop = Loop(step, name="test", idle=LONG)
    async with asyncio.timeout(5):
        await loop.run()

    assert 5 == steps


async def test_it_wakes_when_it_is_told_that_there_is_work() -> None:
    steps = asyncio.Queue[None]()

    async def step() -> bool:
        steps.put_nowait(None)
        return False

    loop = Loop(step, name="test", idle=LONG)
    task = asyncio.create_task(loop.run())
    async with asyncio.timeout(5):
        await steps.get()
        loop.wake()
        await steps.get()
        loop.stop()
        await task

    assert steps.empty()


async def test_a_step_that_fails_is_tried_again() -> None:
    outcomes = [RuntimeError("away"), RuntimeError("away"), None]

    async def step() -> bool:
        outcome = outcomes.pop(0)
        if outcome:
            raise outcome
        loop.stop()
        return True

    loop = Loop(step, name="test", idle=LONG, longest_pause=timedelta(milliseconds=1))
    async with asyncio.timeout(5):
        await loop.run()

    assert [] == outcomes


async def test_it_stops_between_steps_and_never_inside_one() -> None:
    ended = False

    async def step() -> bool:
        nonlocal ended
        loop.stop()
        await asyncio.sleep(0)
        ended = True
        return True

    loop = Loop(step, name="test", idle=LONG)
    async with asyncio.timeout(5):
        await loop.run()

    assert ended
