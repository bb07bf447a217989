"""
An Arrow IPC stream into a table to be trusted, and a table into a stream; knows no model.

A body is small, what it claims to be need not be: compressed buffers, dictionaries that grow from
batch to batch, types with no buffers behind their length, a million views of one long text.  So
the messages are looked at before any is decoded; what is left points into the body, and is
validated in full.
"""

import struct
from collections.abc import Callable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import ipc

from service.http.errors import InvalidRequest, MalformedRequest

LONGEST_TEXT = 256  # bytes
MOST_MESSAGES = 1024
MOST_DICTIONARY_BYTES = 2**26  # those of a dictionary count for each batch that comes after it

pa.set_memory_pool(pa.system_memory_pool())  # what it frees is trimmed like all else

_OPTIONS = ipc.IpcReadOptions(
    use_threads=False,
    # The address of a buffer is the caller's choice, and what kernels must not meet crooked.
    ensure_alignment=ipc.Alignment.DataTypeSpecific,
)
# All that is raised about a stream that was made wrong, by pyarrow and here.
_UNREADABLE = (
    *(pa.ArrowException, OSError, ValueError, LookupError, OverflowError, MemoryError),
    struct.error,
)
_OLD_COMPRESSION = b"ARROW:experimental_compression"  # of Arrow 0.17, in a message's metadata


def read_table(body: bytes, check: Callable[[pa.Schema], None], most_rows: int) -> pa.Table:
    """
    Return the table if ``check`` raises nothing about its schema: no batch is decoded before.

    Raises MalformedRequest or InvalidRequest.
    """
    try:
        _check_messages(body)
        with ipc.open_stream(body, options=_OPTIONS) as reader:
            check(reader.schema)
            table = reader.read_all()
        if table.num_rows > most_rows:
            raise InvalidRequest(
                "the table",
                f"expected at most {most_rows} rows, as many as one request may have sequences "
                f"of the longest length, got {table.num_rows}",
            )
        table.validate()
        for column in table.columns:
            _check_views(column)
        table.validate(full=True)
    except _UNREADABLE:
        raise MalformedRequest("The body is not a valid Arrow IPC stream.") from None
    return table


def write_table(table: pa.Table) -> bytes:
    """Return the table as an IPC stream of one batch."""
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def _check_messages(body: bytes) -> None:
    source = pa.BufferReader(body)
    dictionary = read = 0
    for number, message in enumerate(ipc.MessageReader.open_stream(source), start=1):
        if message.type != "schema":
            _check_message(message)
        if message.type == "dictionary":
            dictionary += message.body.size
        read += dictionary
        if number > MOST_MESSAGES or read > MOST_DICTIONARY_BYTES:
            raise InvalidRequest(
                "the stream",
                f"expected at most {MOST_MESSAGES} messages, and fewer with a large dictionary; "
                "send the table as one batch",
            )
    if source.tell() != len(body):
        raise MalformedRequest("There are bytes behind the end of the Arrow IPC stream.")


def _check_views(column: pa.ChunkedArray) -> None:
    """Refuse long texts before each is read, as often as there is a view of it."""
    for chunk in column.chunks:
        views = chunk.dictionary if pa.types.is_dictionary(chunk.type) else chunk
        if views.type != pa.string_view() or not len(views):
            continue
        # A view is four numbers of four bytes; the first is the length.
        numbers: NDArray[np.int32] = np.frombuffer(
            views.buffers()[1], "<i4", 4 * len(views), 16 * views.offset
        )
        check_text(int(numbers[::4].max()))


def check_text(longest: int) -> None:
    """Raise InvalidRequest if a text is too long."""
    if longest > LONGEST_TEXT:
        raise InvalidRequest(
            "the table", f"expected texts of at most {LONGEST_TEXT} bytes, got {longest}"
        )


def _check_message(message: ipc.Message) -> None:
    """Look at what pyarrow does not show, by the numbers of the fields in Arrow's Message.fbs."""
    metadata = message.metadata.to_pybytes()
    if _OLD_COMPRESSION in metadata:
        raise _compressed()
    batch = _Table(metadata, *struct.unpack_from("<I", metadata)).table(2)
    if batch is not None and message.type == "dictionary":
        if batch.byte(2):
            raise InvalidRequest("the stream", "a dictionary grows; send it whole")
        batch = batch.table(1)
    if batch is not None and batch.table(3) is not None:
        raise _compressed()


def _compressed() -> InvalidRequest:
    return InvalidRequest("the stream", "its buffers are compressed; send them uncompressed")


class _Table:
    """A table of a flatbuffer: where its fields are, by their numbers."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self._position = position

    def table(self, field: int) -> "_Table | None":
        """Return the table that a field refers to; None if the field is not there."""
        place = self._find(field)
        if not place:
            return None
        return _Table(self._data, place + self._read("<I", place))

    def byte(self, field: int) -> int:
        """Return a field of one byte, 0 if it is not there."""
        place = self._find(field)
        return self._read("<B", place) if place else 0

    def _find(self, field: int) -> int:
        directory = self._position - self._read("<i", self._position)
        slot = 4 + 2 * field
        if slot >= self._read("<H", directory):
            return 0
        offset = self._read("<H", directory + slot)
        return self._position + offset if offset else 0

    def _read(self, kind: str, place: int) -> int:
        if place < 0:  # struct would count from the end
            raise struct.error("before the beginning")
        (value,) = struct.unpack_from(kind, self._data, place)
        return int(value)
