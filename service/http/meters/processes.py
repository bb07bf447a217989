"""Processes: memory, processor time, files; read from /proc, of every worker, by any of them."""

import os
import resource
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

PROC = Path("/proc")
# In whole seconds, so that all workers say the same of one process, at every scrape.
BOOTED = round(time.time() - time.clock_gettime(time.CLOCK_BOOTTIME))
PAGE, TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")

# What follows the name of a command in /proc/PID/stat.
STATE, PARENT, USER, SYSTEM, THREADS, STARTED, RESIDENT = 0, 1, 11, 12, 17, 19, 21


class Figures(NamedTuple):
    """One process at one time, by the names of prometheus_client without their ``process_``."""

    resident_memory_bytes: int
    cpu_seconds: float
    open_fds: int
    max_fds: int
    threads: int
    start_time_seconds: float  # of Unix time


FAMILIES: tuple[tuple[type[GaugeMetricFamily | CounterMetricFamily], str, str], ...] = (
    (GaugeMetricFamily, "resident_memory_bytes", "Memory in use"),
    (CounterMetricFamily, "cpu_seconds", "Processor time, the kernel's share included"),
    (GaugeMetricFamily, "open_fds", "Open files and sockets"),
    (GaugeMetricFamily, "max_fds", "Files and sockets that may be open"),
    (GaugeMetricFamily, "threads", "Threads"),
    (GaugeMetricFamily, "start_time_seconds", "When the process began, in Unix time"),
)


class Processes(Collector):
    """
    The processes that share a folder of metrics, or this one alone.

    prometheus_client's own collector knows one process, and says nothing where several share
    their figures.  The names are its names; the label ``pid`` tells workers apart.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        """Yield the families; without samples where there is no /proc."""
        found = {str(pid): figures for pid in self.living() if (figures := read(pid))}
        for kind, name, meaning in FAMILIES:
            family = kind(f"process_{name}", meaning, labels=["pid"])
            for pid, figures in found.items():
                family.add_metric([pid], getattr(figures, name))
            yield family

    def living(self) -> list[int]:
        """List the processes that share the folder and live; their leftovers are removed."""
        if self._folder is None:
            return [os.getpid()]
        files: dict[int, list[Path]] = {}
        for path in self._folder.glob("*.db"):
            with suppress(ValueError):
                files.setdefault(int(path.stem.rpartition("_")[2]), []).append(path)
        alive = [pid for pid in files if _is_sibling(pid)]
        for pid in files.keys() - alive:
            _forget(files[pid])
        return sorted(alive)


def read(pid: int) -> Figures | None:
    """Return a process's figures, None if it is not there."""
    try:
        fields = _fields(pid)
        files = len(os.listdir(PROC / str(pid) / "fd"))  # noqa: PTH208  names alone
    except OSError:
        return None
    return Figures(
        int(fields[RESIDENT]) * PAGE,
        (int(fields[USER]) + int(fields[SYSTEM])) / TICKS,
        files,
        resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        int(fields[THREADS]),
        BOOTED + int(fields[STARTED]) / TICKS,
    )


def _is_sibling(pid: int) -> bool:
    """Whether it lives and has our parent: a number may have gone to another program since."""
    try:
        fields = _fields(pid)
    except OSError:
        return False
    return fields[STATE] != "Z" and int(fields[PARENT]) == os.getppid()


def _fields(pid: int) -> list[str]:
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _forget(files: Iterable[Path]) -> None:
    """Remove what a dead process said of itself; what it counted stays counted."""
    for path in files:
        if path.name.startswith("gauge_live"):
            path.unlink(missing_ok=True)
