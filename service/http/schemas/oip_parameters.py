"""The ``parameters`` of the Open Inference Protocol: each is heeded or refused, none ignored."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from service.http.errors import InvalidRequest
from service.http.schemas.wire import kind_of, unknown

_MAX_MICROSECONDS = 10**15
_STREAMS = "this protocol's sequences are not kept here; POST /v1/models/{name}/sessions opens one"
# What Triton's clients may send of scheduling, what it means as long as it says nothing, and why
# it may say no more.
_SILENT: Mapping[str, tuple[frozenset[Any], str]] = {
    "priority": (frozenset({0}), "every request has the same priority here; expected 0"),
    "sequence_id": (frozenset({0, ""}), _STREAMS),
    "sequence_start": (frozenset({False}), _STREAMS),
    "sequence_end": (frozenset({False}), _STREAMS),
}
_KNOWN = frozenset({"binary_data_output", "timeout", *_SILENT})


class RequestParameters(NamedTuple):
    """What the parameters of a whole request say."""

    binary: bool  # whether outputs that do not say come in binary
    timeout: float | None  # seconds


def request_parameters(header: dict[str, Any]) -> RequestParameters:
    """Read those of a request; raise InvalidRequest."""
    found = parameters_of(header, "", _KNOWN)
    if not found:
        return _NOTHING
    if len(found) == 1 and found.get("binary_data_output") is True:
        return _BINARY  # all that Triton's clients mostly say
    for name, value in found.items():
        if name in _SILENT and value is not None:
            silent, why = _SILENT[name]
            if type(value) in (dict, list, float) or value not in silent:
                raise InvalidRequest(f"parameters.{name}", why)
    binary = flag(found, "binary_data_output", "parameters", default=False)
    return RequestParameters(binary, _timeout(found.get("timeout")))


def parameters_of(holder: dict[str, Any], place: str, known: frozenset[str]) -> dict[str, Any]:
    """Return the ``parameters`` of a request, an input or an output; raise InvalidRequest."""
    found = holder.get("parameters")
    if found is None:
        return {}
    where = f"{place}.parameters".lstrip(".")
    if type(found) is not dict:
        raise InvalidRequest(where, "expected an object")
    if not found.keys() <= known:
        name = next(name for name in found if name not in known)
        raise InvalidRequest(f"{where}.{name:.64}", f"unknown; expected {', '.join(sorted(known))}")
    return found


def flag(parameters: dict[str, Any], key: str, place: str, *, default: bool) -> bool:
    """Return one that is true or false; raise InvalidRequest."""
    value = parameters.get(key, default)
    if type(value) is not bool:
        raise InvalidRequest(f"{place}.{key}", f"expected true or false, got {kind_of(value)}")
    return value


def unknown_field(entry: dict[str, Any], known: frozenset[str], place: str) -> InvalidRequest:
    """Name the first field that the protocol does not have."""
    name = next(name for name in entry if name not in known)
    return InvalidRequest(f"{place}.{name:.64}".lstrip("."), unknown(name, known))


def _timeout(microseconds: object) -> float | None:
    if microseconds is None:
        return None
    if type(microseconds) is not int or not 0 <= microseconds <= _MAX_MICROSECONDS:
        raise InvalidRequest("parameters.timeout", "expected a whole number of microseconds")
    return microseconds / 1e6 or None  # 0 is what nobody says, too


_BINARY = RequestParameters(binary=True, timeout=None)
_NOTHING = RequestParameters(binary=False, timeout=None)
