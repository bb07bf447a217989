"""Long tables written as Arrow streams, and their answers read."""

import io

import numpy as np
import polars as pl

ARROW = {"content-type": "application/vnd.apache.arrow.stream"}
START = np.datetime64("2020-01-05", "us")
WEEK = np.timedelta64(7, "D")


def long(series):
    """Return a table that co2-gru may read, one series after the other."""
    return pl.concat(
        pl.DataFrame(
            {"unique_id": [name] * len(values), "ds": START + np.arange(len(values)) * WEEK}
            | {"co2": pl.Series(values, dtype=pl.Float64)}
        )
        for name, values in series.items()
    )


def stream(frame, **options) -> bytes:
    out = io.BytesIO()
    frame.write_ipc_stream(out, **options)
    return out.getvalue()


def read(answer) -> pl.DataFrame:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == ARROW["content-type"]
    return pl.read_ipc_stream(answer.content)


async def send(service, content, model="co2-gru", **options):
    path = f"/v1/models/{model}/predict"
    return await service.client.post(path, content=content, headers=ARROW, **options)
