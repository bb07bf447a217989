"""Take a body out of its Content-Encoding, and never more of it than is allowed."""

import zlib

from service.http.errors import BodyTooLarge, UnsupportedEncoding

# What zlib is told of the frame: gzip's, or zlib's own, which HTTP calls deflate.
_FRAMES = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class Inflater:
    """One body on its way out of an encoding; raises UnsupportedEncoding if there is none such."""

    def __init__(self, encoding: str, limit: int) -> None:
        frame = _FRAMES.get(encoding)
        if frame is None:
            raise UnsupportedEncoding("Send the body as it is, or with one Content-Encoding.")
        self._zlib = zlib.decompressobj(frame)
        self._limit = limit
        self._parts: list[bytes] = []

    def begin(self, body: bytes, most: int) -> bool:
        """Inflate at most so many bytes; return whether that was all."""
        self._add(body, most)
        return self._zlib.eof

    def finish(self) -> bytes:
        """Return the body; raise BodyTooLarge, or UnsupportedEncoding if it was none."""
        size = sum(map(len, self._parts))
        while not self._zlib.eof and size <= self._limit:
            self._add(self._zlib.unconsumed_tail, self._limit + 1 - size)
            if not self._parts[-1] and not self._zlib.eof:
                raise _lie()
            size += len(self._parts[-1])
        if size > self._limit:
            raise BodyTooLarge(self._limit)
        if self._zlib.unused_data:
            raise _lie()
        return b"".join(self._parts)

    def _add(self, body: bytes, most: int) -> None:
        try:
            self._parts.append(self._zlib.decompress(body, most))
        except zlib.error:
            raise _lie() from None


def _lie() -> UnsupportedEncoding:
    return UnsupportedEncoding("The body is not whole in its Content-Encoding, or not in it.")
