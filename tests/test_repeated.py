"""What is done again and again goes on whatever one act raises, and ends with its block."""

import asyncio

from service.repeated import Repeated
from tests.doubles import within


async def test_neither_what_is_foreseen_nor_a_defect_ends_it_and_the_log_tells_them_apart(caplog):
    acts, enough = [], asyncio.Event()

    async def act():
        acts.append(len(acts))
        if len(acts) < 3:
            raise (OSError("away"), ZeroDivisionError("a defect"))[len(acts) - 1]
        enough.set()

    async with Repeated("watcher", act, 0.001, spread=0.5, foreseen=(OSError,)):
        await within(enough.wait())
    foreseen, defect = caplog.records
    assert (foreseen.getMessage(), foreseen.exc_info) == ("watcher: away", None)
    assert defect.exc_info[0] is ZeroDivisionError


async def test_the_end_of_its_block_ends_an_act_that_would_not_end():
    began, ended = asyncio.Event(), asyncio.Event()

    async def act():
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with Repeated("slow", act, 0.0):
        await within(began.wait())
    assert ended.is_set()
