"""Make long tables of the benchmarks' data, which comes in other shapes; trains nothing."""

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import click
import numpy as np
import polars as pl

ROOT = Path(__file__).parent / "tables"
_FIRST = datetime(2016, 1, 4)  # noqa: DTZ001  of the traffic, in local time
_TRAINED = datetime(2016, 1, 28)  # noqa: DTZ001  where the recipes' validation part begins
_END = datetime(2024, 1, 1)  # noqa: DTZ001  of all series of M4, which tells no times


def prepare() -> Path:
    """
    Write what is missing of the tables, and let recipes find them as $SEQSERVE_TABLES.

    Raise click.ClickException where $SEQSERVE_DATA, the folder of the data as published, is not
    set.
    """
    if "SEQSERVE_DATA" not in os.environ:
        raise click.ClickException("Set SEQSERVE_DATA to the folder with the benchmarks' data.")
    data = Path(os.environ["SEQSERVE_DATA"])
    ROOT.mkdir(exist_ok=True)
    for name, make in TABLES.items():
        path = ROOT / f"{name}.parquet"
        if not path.is_file():
            make(data).write_parquet(path)
    os.environ["SEQSERVE_TABLES"] = str(ROOT)
    return ROOT


def _hourly(data: Path) -> pl.DataFrame:
    """Return the hourly means of ETTm1."""
    rows = pl.read_csv(data / "ettm1/ETTm1.csv.gz", try_parse_dates=True)
    return rows.group_by_dynamic("date", every="1h").agg(pl.exclude("date").mean())


def _traffic(data: Path) -> pl.DataFrame:
    """
    Return vehicles per 5 minutes on working days, the published training and test rows.

    As published, the days stand one after the other as if no other had been between them.
    ``profile`` is the mean of the days of the training part at the same time of day, smoothed
    over 25 minutes; it is known ahead, for nothing later is in it.
    """
    parts = [
        pl.read_csv(data / "traffic_flow_5min" / f"{part}.csv.gz", encoding="utf8-lossy")
        for part in ("train", "test")
    ]
    flow = pl.concat(part.select(flow=part.columns[1]) for part in parts)
    step = timedelta(minutes=5)
    times = pl.datetime_range(_FIRST, _FIRST + step * (len(flow) - 1), step, eager=True)
    table = flow.select(times.alias("time"), "flow")
    day = timedelta(days=1) // step
    known = table.filter(pl.col("time") < _TRAINED)["flow"].to_numpy().reshape(-1, day)
    around = np.arange(day)[:, None] + np.arange(-2, 3)
    profile = known.mean(axis=0)[around % day].mean(axis=1)
    return table.with_columns(profile=pl.Series(profile[np.arange(len(table)) % day]))


def _m4(period: str, step: timedelta) -> Callable[[Path], pl.DataFrame]:
    def make(data: Path) -> pl.DataFrame:
        """Return id, ds and value; the published test follows each training series."""
        known, ahead = (
            pl.read_csv(data / "m4" / f"{period}-{part}.csv.gz", infer_schema_length=None)
            for part in ("train", "test")
        )
        series = []
        for past, future in zip(known.iter_rows(), ahead.iter_rows(), strict=True):
            values = [float(value) for value in (*past[1:], *future[1:]) if value is not None]
            times = [_END - step * back for back in range(len(values) - 1, -1, -1)]
            series.append(pl.DataFrame({"id": past[0], "ds": times, "value": values}))
        return pl.concat(series)

    return make


TABLES: dict[str, Callable[[Path], pl.DataFrame]] = {
    "ettm1-hourly": _hourly,
    "traffic-flow": _traffic,
    "m4-hourly": _m4("Hourly", timedelta(hours=1)),
    "m4-weekly": _m4("Weekly", timedelta(weeks=1)),
}
