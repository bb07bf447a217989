"""Load from ``wrk``: one body, many connections, what came back a second and how late."""

import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

SCRIPT = """
wrk.method = "POST"
local file = io.open(os.getenv("BODY"), "rb"); wrk.body = file:read("*a"); file:close()
"""


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body and the headers that go with it."""

    content: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw."""

    requests: float  # per second
    p50: float  # milliseconds
    p99: float


def measure(  # noqa: PLR0913, PLR0917  what, where to, how much
    wrk: str, folder: Path, url: str, body: Body, connections: int, seconds: int
) -> Load:
    """Send the body over and over; raise ClickException unless every answer is good."""
    script, content = folder / "post.lua", folder / "body"
    headers = (f"wrk.headers[{json.dumps(k)}] = {json.dumps(v)}" for k, v in body.headers.items())
    script.write_text(SCRIPT + "\n".join(headers))
    content.write_bytes(body.content)
    command = [wrk, "-t1", f"-c{connections}", "--latency", "--timeout", "10s", "-s", str(script)]
    environment = os.environ | {"BODY": str(content)}
    _ask([*command, "-d1s", url], environment)  # warm up
    text = _ask([*command, f"-d{seconds}s", url], environment)
    if "Non-2xx" in text or "Socket errors" in text:
        raise click.ClickException(f"Not every request was answered:\n{text}")
    return Load(
        float(_find(r"Requests/sec:\s+([\d.]+)", text)),
        _milliseconds(_find(r"(?m)^\s+50%\s+(\S+)", text)),
        _milliseconds(_find(r"(?m)^\s+99%\s+(\S+)", text)),
    )


def _ask(command: list[str], environment: Mapping[str, str]) -> str:
    return subprocess.run(  # noqa: S603  wrk, found on the path
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout


def _find(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise click.ClickException(f"wrk said something else:\n{text}")
    return match[1]


def _milliseconds(text: str) -> float:
    for unit, factor in (("us", 1e-3), ("ms", 1.0), ("s", 1e3)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    raise click.ClickException(f"{text!r} is not a time.")
