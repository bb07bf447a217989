"""
Everything that can go wrong inside the engine.

* EngineError
  - ModelNotFound       no model of that name, or not that version
    - ModelWithdrawn    it was unloaded, and shall answer nobody
  - ModelUnavailable    the model exists but could not be loaded; ``reason`` says why
  - InvalidSequence     the input does not fit the model's card; ``place`` says where
  - Overloaded          the waiting room is full; try again later
  - InferenceFailed     the runner raised; ``__cause__`` holds the reason
  - NonFinitePrediction the model answered infinity or not-a-number
  - EngineStopped       the engine is draining or has died
* ModelRejected         a file that must not serve: no card, a wrong graph, a failed self-check

These classes know nothing about HTTP; ``service.http.problems`` maps them to statuses.
"""

import math

_SAID = 64  # characters of a name that nobody has, which may be any text


class EngineError(Exception):
    """Base class of every error a caller of the engine can meet."""


class ModelNotFound(EngineError):
    """No model of that name, or not that version of it."""

    def __init__(self, name: str, version: int | str | None = None) -> None:
        which = repr(name[:_SAID])
        if version is not None:
            which += f" in version {str(version)[:_SAID]}"
        super().__init__(f"There is no model {which}.")


class ModelWithdrawn(ModelNotFound):
    """The model, or that version of it, was unloaded."""

    def __init__(self, name: str, version: int | None = None) -> None:
        super().__init__(name, version)
        which = repr(name) if version is None else f"Version {version} of {name!r}"
        self.args = (f"{which} was unloaded, and answers nobody until it is loaded again.",)


class ModelUnavailable(EngineError):
    """The model exists but could not be loaded."""

    def __init__(self, name: str, version: int, reason: str) -> None:
        super().__init__(f"Version {version} of {name!r} could not be loaded: {reason}")
        self.reason = reason


class InvalidSequence(EngineError):
    """The input does not fit the model's card."""

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"{place}: {problem}")
        self.place = place


def unfit(place: str, value: float) -> InvalidSequence:
    """Return what is wrong with a value that is not finite, where its card does not allow it."""
    if math.isnan(value):
        return InvalidSequence(place, "a missing value, which this model does not allow")
    return InvalidSequence(place, "a number out of the range of float32")


class Overloaded(EngineError):
    """The waiting room is full: too many wait, or the last would wait for too long."""

    def __init__(self, problem: str = "More comes than can be answered in time.") -> None:
        super().__init__(problem)


class InferenceFailed(EngineError):
    """The runner raised; ``__cause__`` holds the reason."""

    def __init__(self) -> None:
        super().__init__("The model failed on this batch.")


class NonFinitePrediction(EngineError):
    """The model answered infinity or not-a-number."""

    def __init__(self, index: int, place: str | None = None) -> None:
        super().__init__(f"{place or f'sequences[{index}]'}: the model's answer is not finite.")
        self.index = index


class EngineStopped(EngineError):
    """The engine is draining or has died."""

    def __init__(self) -> None:
        super().__init__("The engine accepts no more work.")


class ModelRejected(Exception):
    """A file that must not serve; the message is the reason."""
