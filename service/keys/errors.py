"""
The errors of keys.

AccessError
    Unauthorized
        NoKey
        WrongKey
    Forbidden
    LimitReached
        RateReached
        QuotaReached
    UsageUnavailable
UsageLocked: never told; who asks is counted a moment later
UnusableKeys, UnusableUsage: of the files, never of a request
"""

import math
from collections.abc import Mapping

_REALM = 'Bearer realm="seqserve"'
_NONE: Mapping[str, str] = {}
_CHALLENGE = {"www-authenticate": _REALM}
_INVALID = {"www-authenticate": f'{_REALM}, error="invalid_token"'}
_SOON = {"retry-after": "1"}


class AccessError(Exception):
    """A request that its key, or the want of one, forbids; ``headers`` belong to the answer."""

    headers: Mapping[str, str] = _NONE


class Unauthorized(AccessError):
    """Who asks is not known."""

    headers = _CHALLENGE


class NoKey(Unauthorized):
    """The request has no key."""

    def __init__(self) -> None:
        super().__init__("Send a key as 'Authorization: Bearer KEY' or as 'X-API-Key: KEY'.")


class WrongKey(Unauthorized):
    """There is no such key, or it is over; an unknown one and a wrong secret are told the same."""

    headers = _INVALID

    def __init__(self, problem: str = "There is no such key.") -> None:
        super().__init__(problem)


class Forbidden(AccessError):
    """Who asks is known, and may not."""


class LimitReached(AccessError):
    """The key may ask again in ``wait`` seconds."""

    def __init__(self, problem: str, wait: float) -> None:
        super().__init__(problem)
        self.headers = {"retry-after": str(max(1, math.ceil(wait)))}


class RateReached(LimitReached):
    """Requests come faster than the key allows."""

    def __init__(self, rate: str, wait: float) -> None:
        super().__init__(f"The key allows {rate} requests.", wait)


class QuotaReached(LimitReached):
    """The key's requests of this period are used up."""

    def __init__(self, quota: str, wait: float) -> None:
        super().__init__(f"The key allows {quota} requests, and they are used up.", wait)


class UsageUnavailable(AccessError):
    """What the key has used cannot be counted."""

    headers = _SOON

    def __init__(self) -> None:
        super().__init__("What the key has used cannot be counted.")


class UsageLocked(Exception):
    """Another process has the file, for longer than it takes to count."""


class UnusableKeys(Exception):
    """The file of keys cannot be read, or is not one."""


class UnusableUsage(Exception):
    """The file of what was used cannot be opened, or is not one."""
