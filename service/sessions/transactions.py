"""A thread with its own connection that runs all waiting calls as one transaction."""

import asyncio
import itertools
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from service.sessions.errors import StoreUnavailable

log = logging.getLogger(__name__)

Argument = TypeVar("Argument")
Answer = TypeVar("Answer")


@dataclass(slots=True, eq=False)
class _Call:
    work: Callable[[sqlite3.Connection, list[Any]], list[Any]]
    argument: object
    weight: int
    answer: asyncio.Future[Any]


class Transactions:
    """
    Run calls on a database in one thread, many to a transaction.

    The thread takes all calls that wait, runs them in order between ``begin`` and COMMIT, and
    answers them only then: however many they are, they share one commit.  Neighbouring calls of
    the same work are passed to it together.  A transaction that the database refuses is rolled
    back, all its callers get StoreUnavailable, and the next one has a new connection.
    ``committed`` is called after each transaction with the weight of its calls.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        begin: str,
        *,
        timeout: float,
        room: int,
        committed: Callable[[sqlite3.Connection, int], None] | None = None,
    ) -> None:
        self._connect = connect
        self._begin = begin
        self._timeout = timeout
        self._room = room
        self._committed = committed
        self._connection: sqlite3.Connection | None = None
        self._changed = threading.Condition()
        self._waiting: deque[_Call] = deque()
        self._weight = 0  # of all that wait
        self._ended = False
        self._thread = threading.Thread(target=self._work, name=f"sqlite {begin}", daemon=True)
        self._thread.start()

    async def run(
        self,
        work: Callable[[sqlite3.Connection, list[Argument]], list[Answer]],
        argument: Argument,
        weight: int,
    ) -> Answer:
        """
        Return the answer that ``work`` gives to ``argument``, once it is committed.

        ``weight`` counts against ``room`` while the call waits; a call is always accepted if none
        waits.  Raises StoreUnavailable when there is no room, after ``timeout`` seconds, and if
        the database refuses the transaction.  A call whose caller was cancelled is skipped,
        unless its transaction has begun.
        """
        call = _Call(work, argument, weight, asyncio.get_running_loop().create_future())
        with self._changed:
            if self._ended:
                raise StoreUnavailable("The store is closed.")
            if self._waiting and self._weight + weight > self._room:
                raise StoreUnavailable("Too much waits for the store.")
            self._weight += weight
            self._waiting.append(call)
            self._changed.notify()
        try:
            async with asyncio.timeout(self._timeout):
                answer: Answer = await call.answer
        except TimeoutError:
            raise StoreUnavailable(f"No answer in {self._timeout:g} s.") from None
        return answer

    async def close(self) -> None:
        """Run the calls that wait, then close the connection and end the thread."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        while calls := self._take():
            wanted = [call for call in calls if not call.answer.cancelled()]
            if wanted:
                _tell(wanted, self._outcomes(wanted))
                self._account(sum(call.weight for call in wanted))
        self._hang_up()

    def _take(self) -> list[_Call]:
        """Wait for calls and return all of them; none after ``close``."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended)
            calls = list(self._waiting)
            self._waiting.clear()
            self._weight = 0
            return calls

    def _outcomes(self, calls: Sequence[_Call]) -> list[Any]:
        """Return the answer of each call, or the exception to raise there."""
        try:
            return self._transaction(calls)
        except sqlite3.Error as error:
            self._hang_up()
            return [StoreUnavailable(f"SQLite: {error}.") for _ in calls]
        except Exception as error:  # noqa: BLE001  whatever one call holds, its caller alone hears
            if len(calls) == 1:
                return [error]
            return [self._outcomes([call])[0] for call in calls]

    def _transaction(self, calls: Sequence[_Call]) -> list[Any]:
        if self._connection is None:
            self._connection = self._connect()
        connection = self._connection
        connection.execute(self._begin)
        try:
            answers = []
            for work, neighbours in itertools.groupby(calls, key=lambda call: call.work):
                answers += work(connection, [call.argument for call in neighbours])
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # SQLite itself rolls back on some errors
                connection.execute("ROLLBACK")
            raise
        return answers

    def _account(self, weight: int) -> None:
        if self._connection is not None and self._committed is not None:
            try:
                self._committed(self._connection, weight)
            except sqlite3.Error:
                self._hang_up()
            except RuntimeError as exc:  # no thread could be started; this one must go on
                log.warning("what follows on a commit failed: %s", exc)

    def _hang_up(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None


def _tell(calls: Sequence[_Call], outcomes: Sequence[Any]) -> None:
    """Settle the calls, with one callback for each event loop."""
    told = zip(calls, outcomes, strict=True)
    for loop, pairs in itertools.groupby(told, key=lambda pair: pair[0].answer.get_loop()):
        with suppress(RuntimeError):  # the loop has ended, and nobody waits any more
            loop.call_soon_threadsafe(_settle, list(pairs))


def _settle(pairs: Sequence[tuple[_Call, Any]]) -> None:
    for call, outcome in pairs:
        if call.answer.done():  # its caller has gone
            continue
        if isinstance(outcome, Exception):
            call.answer.set_exception(outcome)
        else:
            call.answer.set_result(outcome)
