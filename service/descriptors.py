"""How many files a process may have open, which is how many connections it can hold."""

import resource

OURS = 256  # files beside the connections: models, stores, sockets, what a library opens


def raise_limit() -> None:
    """Raise what is allowed to what the system allows; the processes we start inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def affordable(connections: int) -> int:
    """Return how many connections this process can hold, at most so many."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return connections
    return max(1, min(connections, soft - OURS))
