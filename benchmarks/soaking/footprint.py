"""How much memory a service has: all its processes, as the kernel counts their pages."""

from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
KIB = 1024  # in a MiB


class Footprint(NamedTuple):
    """MiB of some processes."""

    rss: float  # resident; what is shared counts in each process
    pss: float  # resident; what is shared is divided by who shares it
    uss: float  # nobody else's

    def __add__(self, other: object) -> "Footprint":
        if not isinstance(other, Footprint):
            return NotImplemented
        return Footprint(*(one + two for one, two in zip(self, other, strict=True)))


def footprint(pid: int) -> Footprint:
    """Return what a process and all that descend from it have."""
    total = Footprint(0.0, 0.0, 0.0)
    for each in family(pid):
        try:
            text = (PROC / str(each) / "smaps_rollup").read_text()
        except OSError:  # it has ended
            continue
        total += _parse(text)
    return total


def family(pid: int) -> list[int]:
    """List a process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for path in PROC.glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    found = [pid]
    for each in found:  # grows on the way
        found += children.get(each, [])
    return found


def _parse(text: str) -> Footprint:
    sizes = {
        name.rstrip(":"): int(size) / KIB
        for name, size, *_ in (line.split() for line in text.splitlines()[1:])
    }
    return Footprint(sizes["Rss"], sizes["Pss"], sizes["Private_Clean"] + sizes["Private_Dirty"])
