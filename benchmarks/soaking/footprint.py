"""How much memory a service has, process by process, as the kernel counts their pages."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
KIB = 1024  # in a MiB


class Footprint(NamedTuple):
    """MiB of a process, or of several."""

    rss: float  # resident; what is shared counts in each process
    pss: float  # resident; what is shared is divided by who shares it
    anonymous: float  # of no file: what it made itself, whoever else maps its libraries or stops to


Look = Mapping[int, Footprint]  # by process


def look(pid: int) -> Look:
    """Return what a process has, and what each has that descends from it."""
    found = {}
    for each in family(pid):
        try:
            found[each] = _parse((PROC / str(each) / "smaps_rollup").read_text())
        except (OSError, KeyError):  # it has ended
            continue
    return found


def lasting(looks: Sequence[Look]) -> set[int]:
    """Return the processes that were there at every look; none if nobody looked."""
    return set.intersection(*map(set, looks)) if looks else set()


def ended(looks: Sequence[Look]) -> set[int]:
    """Return the processes that were there at most looks and not at all: they died."""
    seen = Counter(pid for each in looks for pid in each)
    return {pid for pid, times in seen.items() if len(looks) / 2 <= times < len(looks)}


def total(had: Look, processes: Iterable[int]) -> Footprint:
    """Return what some processes had together."""
    return Footprint(*map(sum, zip(*(had[pid] for pid in processes), strict=True)))


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
    return Footprint(sizes["Rss"], sizes["Pss"], sizes["Anonymous"])
