"""
The child's part: read a model from standard input, try it under limits, say what was found.

Started as ``python -m service.engine.vetting.probe``; it may die of what it reads, and nothing
else does.  Limits are set by this process on itself before it reads the first byte: its parent
has threads, and may run nothing between fork and exec.
"""

import json
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from service.engine.errors import ModelRejected
from service.engine.jobs import Row
from service.engine.runner import Device, OnnxRunner
from service.engine.selfcheck import check
from service.engine.tuning import drawn
from service.engine.vetting.audit import card_of, findings
from service.engine.vetting.messages import parse
from service.engine.vetting.report import Measured

MOST = 20  # findings told
LONGEST = 500  # characters of one
_CPU = Device("cpu", "to try the model")
_FILES = 64  # open at once


def main() -> None:
    """Check the file on standard input; write one JSON object to standard output."""
    order = json.loads(sys.argv[1])
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not be in the answer
    _confine(order["seconds"], order["memory"])
    with answer:
        json.dump(_examined(sys.stdin.buffer.read(), order), answer)


def _examined(content: bytes, order: Mapping[str, Any]) -> dict[str, Any]:
    """Return the findings and, if there are none, the self-check and measurements."""
    try:
        return _seen(content, order["name"]) or _tried(
            content, order["batch_size"], order["batch_steps"]
        )
    except ModelRejected as exc:
        found = str(exc)
    except MemoryError:
        found = f"The model needs more than the {order['memory'] >> 20} MiB that a check may take."
    return {"findings": [_line(found)]}


def _line(text: str) -> str:
    """Return a text as one printable line: the runtime's messages repeat names of the file."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return line if len(line) <= LONGEST else line[:LONGEST] + "..."


def _seen(content: bytes, name: str | None) -> dict[str, Any]:
    if content[4:8] == b"ORTM":
        raise ModelRejected("The file is of ONNX Runtime's own format, not ONNX.")
    model = parse(content)
    found = [_line(finding) for finding in islice(findings(model), MOST)]
    if not found and name is not None and (given := card_of(model).name) != name:
        found.append(f"The card names {given!r}, the folder {name!r}.")
    return {"findings": found} if found else {}


def _tried(content: bytes, batch_size: int, batch_steps: int) -> dict[str, Any]:
    before, started = _resident(), time.perf_counter()
    runner = OnnxRunner(content, _CPU)
    load_seconds = time.perf_counter() - started
    found, longest = check(runner, runner.card, runner.provider), runner.card.max_length
    size = max(1, min(batch_size, batch_steps // longest))
    run_seconds, batch_seconds = (
        _seconds(runner, drawn(runner.card, rows, longest)) for rows in (1, size)
    )
    measured = Measured(
        load_seconds, run_seconds, size, batch_seconds, memory_bytes=_status("VmHWM") - before
    )
    return {"findings": [], "self_check": asdict(found), "measured": asdict(measured)}


def _seconds(runner: OnnxRunner, rows: Sequence[Row]) -> float:
    """Return the seconds of a run; raise ModelRejected if it fails."""
    started = time.perf_counter()
    try:
        runner.run(rows)
    except Exception as exc:  # whatever the runtime raises, the file must not serve
        steps = len(rows[0].sequence)
        raise ModelRejected(
            f"A batch of {len(rows)} sequences of {steps} steps could not be run: {exc}"
        ) from exc
    return time.perf_counter() - started


def _confine(seconds: float, memory: int) -> None:
    """Limit this process in time, memory and files; have it killed first if memory runs out."""
    signal.setitimer(signal.ITIMER_REAL, seconds + 1)  # if the parent is not there to do so
    os.nice(5)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    for limit, value in (
        (resource.RLIMIT_AS, pages * resource.getpagesize() + memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _FILES),
    ):
        resource.setrlimit(limit, (value, value))


def _resident() -> int:
    """Return the resident bytes, and reset the peak."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _status("VmRSS")


def _status(name: str) -> int:
    # Not getrusage, whose peak includes that of the parent before exec.
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


if __name__ == "__main__":
    main()
