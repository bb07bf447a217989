"""Arrow IPC streams, both ways: the modules here, and no others, import pyarrow."""

MEDIA_TYPE = "application/vnd.apache.arrow.stream"
