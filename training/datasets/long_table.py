"""Any demand data as one long table: a row for each series and period."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa

from training.contracts.covariates import CovariateSchema, read_covariates
from training.contracts.errors import InputError, Problem, nearest
from training.contracts.progress import NoProgress, Progress
from training.contracts.shop import COVARIATES_FILE
from training.datasets.adapter import DatasetAdapter, only_file
from training.datasets.csv_tables import find_csv
from training.datasets.sales_shop import timestamps, write_sales

_s, _f = pa.string(), pa.float64()
REQUIRED = ("series_id", "timestamp", "demand")
TEXTS = ("series_id", "item_id", "location")
PARTS = ("train", "validation", "test")


def read(folder: Path, out: Path, *, force: bool = False, progress: Progress = NoProgress()) -> dict[str, int]:
    """Import a folder of the format into a new shop at `out`; returns rows per table."""
    progress.stage(f"reading {folder}")
    file = only_file(folder, find_csv(folder, "long"), wanted="long.csv[.gz]")
    frame = _strings(file)
    covariates = [name for name in frame.columns if name not in (*REQUIRED, *TEXTS, "part")]
    declared = read_covariates(folder, covariates)
    columns: dict[str, pa.Array] = {
        "series_id": pa.array(frame["series_id"], _s),
        "item_id": _texts(frame, "item_id"),
        "location": _texts(frame, "location"),
        "timestamp": timestamps(frame["timestamp"], file, "timestamp"),
        "demand": _numbers(frame, "demand", file),
        "price": _numbers(frame, "price", file),
        "promotion": _numbers(frame, "promotion", file),
        "split": _parts(frame, file),
    }
    for name in covariates:
        if name not in columns:
            columns[name] = _covariate(frame, name, file, declared)
    return write_sales(out, pa.table(columns), declared, name=folder.resolve().name, currency=None, force=force)


def _strings(file: Path) -> pd.DataFrame:
    try:
        frame = pd.read_csv(file, dtype=str, keep_default_na=False, na_values=["", "NA", "NaN", "nan"])
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise InputError(Problem(file=str(file), problem=f"cannot be read as CSV: {error}")) from error
    for name in REQUIRED:
        if name not in frame.columns:
            raise InputError(
                Problem(file=str(file), column=name, problem="required column is absent",
                        found=", ".join(frame.columns), nearest=nearest(name, list(frame.columns)))
            )  # fmt: skip
    for name in ("series_id", "timestamp"):
        if frame[name].isna().any():
            line = int(frame[name].isna().to_numpy().argmax()) + 2
            raise InputError(Problem(file=str(file), line=line, column=name, problem="is empty"))
    twice = frame.duplicated(["series_id", "timestamp"]).to_numpy()
    if twice.any():
        row = int(twice.argmax())
        raise InputError(
            Problem(file=str(file), line=row + 2, column="timestamp", problem="a second row of this series and period",
                    found=f"{frame['series_id'].iloc[row]} {frame['timestamp'].iloc[row]}")
        )  # fmt: skip
    return frame


def _texts(frame: pd.DataFrame, name: str) -> pa.Array:
    return pa.array(frame[name], _s, from_pandas=True) if name in frame else pa.nulls(len(frame), _s)


def _numbers(frame: pd.DataFrame, name: str, file: Path) -> pa.Array:
    if name not in frame:
        return pa.nulls(len(frame), _f)
    numbers = pd.to_numeric(frame[name], errors="coerce")
    wrong = (numbers.isna() & frame[name].notna()).to_numpy()
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            Problem(file=str(file), line=row + 2, column=name, problem="not a number", found=str(frame[name].iloc[row]))
        )
    return pa.array(numbers, _f, from_pandas=True)


def _covariate(frame: pd.DataFrame, name: str, file: Path, declared: CovariateSchema) -> pa.Array:
    """Numbers, but what is static may be words."""
    static = name in declared.named("static")
    words = pd.to_numeric(frame[name], errors="coerce").isna() & frame[name].notna()
    return _texts(frame, name) if static and words.any() else _numbers(frame, name, file)


def _parts(frame: pd.DataFrame, file: Path) -> pa.Array:
    if "part" not in frame:
        return pa.nulls(len(frame), _s)
    wrong = (~frame["part"].isin(PARTS) & frame["part"].notna()).to_numpy()
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            Problem(file=str(file), line=row + 2, column="part", problem="unknown part",
                    found=str(frame["part"].iloc[row]), allowed=", ".join(PARTS))
        )  # fmt: skip
    return _texts(frame, "part")


ADAPTER = DatasetAdapter(
    name="long-table",
    description="Any demand data: a row for each series and period.",
    reads=f"long.csv[.gz] with {', '.join(REQUIRED)} and any covariates; optional {COVARIATES_FILE}",
    origin="whoever made the table",
    licence="theirs",
    reader=read,
)
