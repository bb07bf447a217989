"""What HTTP refuses by itself, whatever is asked; ``problems`` says how each is answered."""


class RequestError(Exception):
    """A request that HTTP refuses before the engine sees it."""


class MalformedHttp(RequestError):
    """What came on a connection is no request; nothing more is read there."""


class UriTooLong(RequestError):
    """The URI is over the limit."""


class HeadersTooLarge(RequestError):
    """The headers are too many, or too long."""


class RequestTimeout(RequestError):
    """A part of the request did not come in time."""

    def __init__(self, part: str, seconds: float) -> None:
        super().__init__(f"The {part} of the request did not come within {seconds:g} s.")


class TooManyConnections(RequestError):
    """The process holds all the connections it may, and none of them can give way."""

    def __init__(self) -> None:
        super().__init__("There are too many connections.")


class OtherWebSocket(RequestError):
    """The upgrade is to a version of WebSocket that is not spoken here."""

    def __init__(self) -> None:
        super().__init__("The upgrade's Sec-WebSocket-Version must be 13.")


class MalformedRequest(RequestError):
    """Not parseable as what it claims to be."""


class InvalidRequest(RequestError):
    """Parsed, but not acceptable; ``place`` says where."""

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"{place}: {problem}" if place else problem)
        self.place = place


class BodyTooLarge(RequestError):
    """The body is over the limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body may have at most {limit} bytes.")


class UnsupportedMediaType(RequestError):
    """The body is of a type nobody reads here; ``headers`` say which types are."""

    def __init__(self, problem: str, accept: str = "application/json") -> None:
        super().__init__(problem)
        self.headers = {"accept": accept}


class UnsupportedEncoding(RequestError):
    """The body is in an encoding nobody takes off here, or not in the one it says."""


class TooManyElements(RequestError):
    """The document holds more numbers, arrays and objects than one request may."""

    def __init__(self, most: int, found: int) -> None:
        super().__init__(
            f"The body may hold at most {most} numbers, arrays and objects together, it holds "
            f"{found}; binary tensors and Arrow streams have no such limit."
        )


class TooManyBodies(RequestError):
    """The large bodies that are here already leave no room for one more."""

    def __init__(self, most: int) -> None:
        super().__init__(f"The large bodies received at once may have at most {most} bytes.")


class DeadlineExceeded(RequestError):
    """The answer did not come in the time the caller gave."""

    def __init__(self, milliseconds: float) -> None:
        super().__init__(f"No answer within {milliseconds:.15g} ms.")


class NotMeasured(RequestError):
    """The card of the model holds no accuracy."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The accuracy of {name!r} was not measured when it was published.")


class NotAForecaster(RequestError):
    """Only a forecaster can do what was asked, and the model is none."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} classifies, and makes no forecasts.")


class WorkerDied(RequestError):
    """The process died that was to answer; never raised, but told for it by its keeper."""


class ClientGone(RequestError):
    """The client left; nobody reads this answer."""
