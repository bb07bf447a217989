"""Workers that share a port share its connections, and nobody else has it."""

import socket
from contextlib import ExitStack, suppress

import pytest

from service.port import bind, close


def accepted(listener) -> int:
    """Count the connections that wait at a socket."""
    listener.setblocking(False)  # noqa: FBT003
    count = 0
    with suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            count += 1
    return count


def test_each_place_gets_its_part_of_the_connections():
    with ExitStack() as stack:
        places = bind("127.0.0.1", 0, workers=2)
        listeners = [stack.enter_context(listener) for (listener,) in places]
        address = listeners[0].getsockname()
        assert listeners[1].getsockname() == address
        for listener in listeners:
            listener.listen(200)
        for _ in range(100):
            stack.enter_context(socket.create_connection(address, timeout=5))
        counts = [accepted(listener) for listener in listeners]
    assert sum(counts) == 100
    assert min(counts) >= 20  # one in 10**10 by chance


def test_every_address_of_a_name_gets_the_same_port():
    places = bind("localhost", 0, workers=2)
    ports = {each.getsockname()[1] for place in places for each in place}
    families = [{each.family for each in place} for place in places]
    for place in places:
        close(place)
    assert len(ports) == 1
    assert socket.AF_INET in families[0]
    assert families[0] == families[1]


@pytest.mark.parametrize("shares", [False, True])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_port_that_somebody_has_is_refused(workers, shares):
    with socket.socket() as other:
        if shares:  # as another service with several workers does
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError, match="in use"):
            bind("127.0.0.1", other.getsockname()[1], workers)
