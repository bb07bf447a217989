"""
Everything that can go wrong with a session.

* SessionError
  - SessionNotFound     no session of that id, or another tenant's
  - SessionGone         there was one: it has expired, or was closed
  - WrongStep           not the next step, nor the last one again; ``expected`` is the next
  - Unfit               what was sent does not fit the session
  - OtherPayload        the last step again, with other values
  - StepRunning         the session's step is being taken at this moment
  - SessionsFull        no room for another session or its bytes; ``tenant``: the caller's own
  - ModelChanged        the session's model is no longer the one that it was opened with
  - StateUnreadable     what is stored is no stream of the model, or of another version of this
  - NotASession         a token that was not written here, or was changed since
* StoreUnavailable      the store is down, full or too slow: no step was taken, as far as is known
* UnusableStore         what was named as the store is none, or not one for this program

These classes know nothing about HTTP; ``service.http.problems`` maps them to statuses.
"""


class SessionError(Exception):
    """Base class of every error a caller of the sessions can meet."""


class SessionNotFound(SessionError):
    """No session of that id, or another tenant's."""

    def __init__(self, session: str) -> None:
        super().__init__(f"There is no session {session!r:.80}.")


class SessionGone(SessionError):
    """There was such a session."""

    def __init__(self, session: str) -> None:
        super().__init__(f"The session {session!r:.80} has expired or was closed.")


class WrongStep(SessionError):
    """Neither the next step nor the last one again."""

    def __init__(self, step: int, expected: int) -> None:
        super().__init__(f"Step {step} does not follow; expected step {expected}.")
        self.expected = expected


class Unfit(SessionError):
    """What was sent does not fit the session; the message says where."""


class OtherPayload(SessionError):
    """The last step again, with other values than it was taken with."""

    def __init__(self, step: int) -> None:
        super().__init__(f"Step {step} was taken already, with other values.")


class StepRunning(SessionError):
    """A step of the session is being taken at this moment."""

    def __init__(self, session: str) -> None:
        super().__init__(f"A step of the session {session!r:.80} is being taken; ask again.")


class SessionsFull(SessionError):
    """No room for another session, or for its bytes."""

    def __init__(self, *, tenant: bool) -> None:
        whose = "you may" if tenant else "the service can"
        super().__init__(f"There are as many sessions, or bytes in them, as {whose} have.")
        self.tenant = tenant


class ModelChanged(SessionError):
    """The model that a session was opened with does not serve under its version."""

    def __init__(
        self,
        model: str,
        version: int,
        why: str = "is not the file that this session was opened with",
    ) -> None:
        super().__init__(f"Version {version} of {model!r} {why}.")


class StateUnreadable(SessionError):
    """What is stored is no stream of the model, or was written by another version of this."""


class NotASession(SessionError):
    """A token that was not written here, was changed since, or is of another model."""


class StoreUnavailable(Exception):
    """The store is down, full or too slow; no step was taken, as far as is known."""


class UnusableStore(ValueError):
    """What was named as the store is none, or not one for this program; the message says why."""
