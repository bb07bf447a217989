"""Processes that share a port share its connections."""

import pickle
import socket
from contextlib import ExitStack, suppress

import pytest

from service.http.port import SharedPort


def accepted(listener) -> int:
    """Count the connections that wait at a socket."""
    listener.setblocking(False)  # noqa: FBT003
    count = 0
    with suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            count += 1
    return count


def test_what_travels_is_opened_anew_and_gets_its_part_of_the_connections():
    with ExitStack() as stack:
        parent = stack.enter_context(SharedPort.open("127.0.0.1", 0))
        address = parent.getsockname()
        workers = [stack.enter_context(pickle.loads(pickle.dumps(parent))) for _ in range(2)]  # noqa: S301
        assert {worker.getsockname() for worker in workers} == {address}
        assert len({parent.fileno(), *(worker.fileno() for worker in workers)}) == 3
        for worker in workers:
            worker.listen(200)
        for _ in range(100):
            stack.enter_context(socket.create_connection(address, timeout=5))
        counts = [accepted(worker) for worker in workers]
    assert sum(counts) == 100  # the parent, who does not listen, got none
    assert min(counts) >= 20  # one in 10**10 by chance


def test_a_port_that_somebody_has_is_refused():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError, match="in use"):
            SharedPort.open("127.0.0.1", other.getsockname()[1])
