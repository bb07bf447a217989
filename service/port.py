"""One port for many processes: a socket of it for each, and the kernel deals out connections."""

import errno
import ipaddress
import socket

Place = tuple[socket.socket, ...]  # what one worker listens on: a socket for each address
Address = tuple[str | int, ...]

_NOT_HERE = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}  # an address of a family without a network


def is_public(host: str) -> bool:
    """Whether others than this machine reach a host's addresses; one without any counts so."""
    try:
        found = socket.getaddrinfo(
            host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError):
        return True
    return not all(_is_loopback(address[0]) for *_, address in found)


def _is_loopback(text: object) -> bool:
    address = ipaddress.ip_address(str(text).partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def bind(host: str, port: int, workers: int) -> list[Place]:
    """
    Bind a place for each worker, without listening; port 0 is any free one.  Raise OSError.

    Processes that accept from one inherited socket take what they can, and of 256 connections
    one of two had 190; with ``SO_REUSEPORT`` the kernel spreads them by hash.  Whoever keeps
    these sockets open keeps the connections that wait at them, also when a worker dies.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    each_address: list[list[socket.socket]] = []
    missing: OSError | None = None
    for family, _, _, _, (name, _, *more) in found:
        try:
            each_address.append(_bind(family, (name, port, *more), workers))
        except OSError as exc:
            if exc.errno not in _NOT_HERE:
                for made in each_address:
                    close(tuple(made))
                raise
            missing = exc
        else:
            port = each_address[-1][0].getsockname()[1]  # the others take the first one's
    if missing and not each_address:
        raise missing
    return list(zip(*each_address, strict=True))


def urls(place: Place) -> list[str]:
    """Return where the sockets of a place are reached."""
    found = []
    for each in place:
        host, port = each.getsockname()[:2]
        found.append(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
    return found


def close(place: Place) -> None:
    """Close the sockets of a place."""
    for each in place:
        each.close()


def _bind(family: int, address: Address, workers: int) -> list[socket.socket]:
    with _bound(family, address, shared=False) as probe:  # who shares would not see another service
        name, _, *more = address
        address = (name, probe.getsockname()[1], *more)
    return [_bound(family, address, shared=workers > 1) for _ in range(workers)]


def _bound(family: int, address: Address, *, shared: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(address)
    except OSError:
        made.close()
        raise
    return made
