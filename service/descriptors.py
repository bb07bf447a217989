"""The limit of open files of a process, which bounds its connections."""

import resource

OURS = 256  # files beside the connections: models, stores, libraries


def raise_limit() -> None:
    """Raise the soft limit to the hard one; processes started later inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def affordable(connections: int) -> int:
    """Return how many of so many connections this process can hold."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return connections
    return max(1, min(connections, soft - OURS))
