"""
Have a file vetted in a child process, and cache the report: the parent's part.

A report is cached by the hash of the file's bytes, the runtime, the machine and the limits.  Of
several workers that start at once, one vets a file and the others wait for its report.
"""

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

import service
from service.engine.cache import Cache, key_of
from service.engine.errors import ModelRejected
from service.engine.runner import RUNTIME
from service.engine.vetting.file import read
from service.engine.vetting.report import Report

log = logging.getLogger(__name__)

SCHEMA = 2  # of the verdict: raise it when the checks change
OVER = 10.0  # seconds that another process may take beyond those of a check
PATIENCE = 600.0  # seconds for which a transient report is kept
PROBE = "service.engine.vetting.probe"
_LAST_WORDS = 500  # bytes
_ROOT = Path(service.__file__).parents[1]
# The environment variables the child gets: none that could hold a key or a password.
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "LANG", "TZ")
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}


@dataclass(frozen=True, slots=True)
class VettingLimits:
    """The limits of vetting a file."""

    size: int = 512 * 2**20  # bytes of the file
    seconds: float = 60.0
    memory: int = 2 * 2**30  # bytes beyond those of an empty process
    batch_size: int = 64  # sequences, and time steps, of the largest batch to try
    batch_steps: int = 65_536


class ModelRefused(ModelRejected):
    """A file that did not pass; ``report`` has all findings."""

    def __init__(self, report: Report) -> None:
        super().__init__(report.reason)
        self.report = report


@dataclass(frozen=True, slots=True)
class Vetted:
    """The bytes of a file that passed, and the report on them."""

    content: bytes = field(repr=False)
    report: Report


def vet(
    path: Path, name: str | None, limits: VettingLimits, cache: Path | None, *, anew: bool = False
) -> Vetted:
    """
    Read a file once and check it; its card must have the ``name``, if one is given.

    ``anew`` ignores the cache.  Raises ModelRefused.
    """
    started = time.perf_counter()
    try:
        content = read(path, limits.size)
    except ModelRejected as exc:
        seconds = time.perf_counter() - started
        raise ModelRefused(Report("", 0, (str(exc),), seconds)) from exc
    sha256 = hashlib.sha256(content).hexdigest()

    def make() -> Report:
        return _tried(content, sha256, name, limits)

    if cache is None:
        report = make()
    else:
        reports = Cache(cache, Report.of, Report.document, limits.seconds + OVER, _fresh)
        key = key_of("verdict", SCHEMA, sha256, name, RUNTIME, asdict(limits))
        report = reports.put(key, make()) if anew else reports.get(key, make)
    if not report.passed:
        raise ModelRefused(report)
    return Vetted(content, report)


def _fresh(report: Report, age: float) -> bool:
    return not report.transient or 0 <= age < PATIENCE


def _tried(content: bytes, sha256: str, name: str | None, limits: VettingLimits) -> Report:
    started = time.perf_counter()
    found = _probe(content, name, limits)

    def report(document: dict[str, Any]) -> Report:
        seconds = time.perf_counter() - started
        seen = {"sha256": sha256, "size": len(content), "seconds": seconds}
        return Report.of({"self_check": None, "measured": None} | document | seen)

    if isinstance(found, _FromOutside):
        raise ModelRefused(report(_died(f"The check was ended by {found.name}.")))  # not kept
    try:
        return report(found)
    except (ValueError, KeyError, TypeError):
        return report(_died("The check gave no answer that can be read."))


class _FromOutside(IntEnum):
    """Signals by which others end processes: not the file's fault."""

    SIGHUP = signal.SIGHUP
    SIGINT = signal.SIGINT
    SIGTERM = signal.SIGTERM


def _probe(
    content: bytes, name: str | None, limits: VettingLimits
) -> dict[str, Any] | _FromOutside:
    order = {"name": name} | asdict(limits)
    try:
        ended = subprocess.run(  # noqa: S603  our own module
            [sys.executable, "-P", "-m", PROBE, json.dumps(order)],
            input=content,
            capture_output=True,
            timeout=limits.seconds,
            env=_environment(),
            start_new_session=True,  # an interrupt from the terminal is meant for us
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _died(f"The check took more than {limits.seconds:g} s.")
    if ended.returncode == 0:
        with suppress(ValueError, RecursionError):
            document: dict[str, Any] = json.loads(ended.stdout)
            return document
    log.warning("a check ended early; its last words: %a", ended.stderr[-_LAST_WORDS:])
    if -ended.returncode in list(_FromOutside):
        return _FromOutside(-ended.returncode)
    return _died(f"The check {_end(ended.returncode)}.")


def _died(finding: str) -> dict[str, Any]:
    return {"findings": [finding], "transient": True}


def _end(returncode: int) -> str:
    if returncode >= 0:
        return f"failed with status {returncode}"
    name = signal.Signals(-returncode).name
    return f"was ended by {name}: the runtime aborts on this model, or memory ran out"


def _environment() -> dict[str, str]:
    given = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    path = os.pathsep.join(part for part in (str(_ROOT), given.get("PYTHONPATH")) if part)
    return given | _ONE_THREAD | {"PYTHONPATH": path}
