"""
Structured logs on standard error, the standard library's loggers included.

A record is one line that no logged text can forge: characters that do not print, such as line
ends, terminal commands and marks of direction, are written as escapes.
"""

import io
import json
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import orjson
import structlog

# What uvicorn says of each WebSocket, by how it begins.
_OF_A_CONNECTION = ('%s - "WebSocket %s" ', "connection ")


def configure(level: str, style: Literal["json", "text"], *, access: bool = True) -> None:
    """
    Send every record of structlog and of ``logging`` through one formatter.

    Without ``access`` uvicorn does not tell of each WebSocket either.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    last: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_dump)]
        if style == "json"
        else [_printable, _console(colors=sys.stderr.isatty())]
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _plain, *last],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.removeFilter(_is_of_the_service)
        logger.propagate = True
    # At its most talkative uvicorn's WebSockets tell each header, and so each key.
    talks = logging.getLogger("uvicorn.error")
    talks.setLevel(max(logging.INFO, root.level))
    if not access:
        talks.addFilter(_is_of_the_service)


def _plain(
    _: structlog.typing.WrappedLogger, __: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    event.pop("color_message", None)  # uvicorn says everything twice
    return event


def _is_of_the_service(record: logging.LogRecord) -> bool:
    return record.levelno > logging.INFO or not str(record.msg).startswith(_OF_A_CONNECTION)


def _console(*, colors: bool) -> structlog.dev.ConsoleRenderer:
    """Return what writes text; a traceback's lines begin like no record's."""

    def indented(stream: TextIO, exc_info: structlog.typing.ExcInfo) -> None:
        told = io.StringIO()
        structlog.dev.plain_traceback(told, exc_info)
        lines = told.getvalue().strip("\n").split("\n")
        stream.write("\n".join(f"    {escape(line)}" for line in lines))

    return structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=indented)


def _printable(
    _: structlog.typing.WrappedLogger, __: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    return {
        escape(key): value if key == "exc_info" else escape(str(value))
        for key, value in event.items()
    }


def escape(text: str) -> str:
    """Return a text with whatever does not print as the escape that Python writes for it."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def _dump(event: MutableMapping[str, Any], **_: object) -> str:
    try:
        text = orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # half a surrogate pair, say
        return json.dumps({str(key): str(value) for key, value in event.items()})
    if text.isprintable():
        return text
    # All that does not print is inside strings, where JSON has an escape for it.
    return "".join(each if each.isprintable() else _json_escape(each) for each in text)


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be").hex()
    return "".join(f"\\u{units[place : place + 4]}" for place in range(0, len(units), 4))
