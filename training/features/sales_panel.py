"""The sales table of a shop as a panel; every row that cannot be placed is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.contracts.covariates import NOT_COVARIATES, CovariateSchema, read_covariates
from training.contracts.errors import InputError, Problem, nearest
from training.contracts.shop import Shop
from training.features.demand import Bools, Floats, Ints, Panel, SeriesTable, Static, require_static
from training.features.periods import Frequency, frequency_of

LARGEST_PANEL = 400_000_000
"""Cells of one matrix: beyond it a panel would not fit a small machine's memory."""


@dataclass(frozen=True)
class _Placed:
    """Rows of the table by series and period."""

    row_N: Ints
    column_N: Ints
    shape: tuple[int, int]

    def matrix(self, values: pa.ChunkedArray) -> Floats:
        out_SP = np.full(self.shape, np.nan)
        numbers_N = pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False)
        out_SP[self.row_N, self.column_N] = numbers_N
        return out_SP


def read_panel(shop: Shop, *, frequency: Frequency | None = None, split: str | None = None) -> Panel:
    """With `split`, of what has one only that and the test's rows.

    Raises InputError for a shop without sales, duplicate rows, mixed frequencies or a wrong covariates.yaml."""
    table = shop.table("sales").sort_by([("series_id", "ascending"), ("timestamp", "ascending")])
    table = _of_split(table, split)
    if not pc.any(pc.is_valid(table["demand"])).as_py():
        raise InputError(Problem(table="sales", problem="no row has a demand: there is nothing to learn from"))
    schema = covariate_schema(shop, table)
    ids = pc.dictionary_encode(table["series_id"]).combine_chunks()
    code_N = ids.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    times_us_N = table["timestamp"].cast(pa.int64()).to_numpy(zero_copy_only=False)
    found = frequency or frequency_of(times_us_N, code_N)
    period_N = found.period(times_us_N)
    first = int(period_N.min())
    shape = (len(ids.dictionary), int(period_N.max()) - first + 1)
    if shape[0] * shape[1] > LARGEST_PANEL:
        raise InputError(Problem(table="sales", column="timestamp", problem="too many series and periods for one panel",
                                 found=f"{shape[0]} x {shape[1]}", allowed=f"{LARGEST_PANEL:,} cells"))  # fmt: skip
    _refuse_duplicates(table, code_N, period_N, found)
    placed = _Placed(code_N, period_N - first, shape)
    series = _series(table, code_N, tuple(ids.dictionary.to_pylist()), schema)
    require_static(series, schema)
    changing = [name for name, of in schema.covariates.items() if of.kind != "static"]
    covariates = {name: placed.matrix(table[name]) for name in changing}
    return Panel(
        series=series,
        frequency=found,
        first=first,
        demand_SP=placed.matrix(table["demand"]),
        covariates=covariates,
        logged=frozenset(name for name, values in covariates.items() if np.nanmin(values) > 0),
        schema=schema,
        test_SP=_held_out(table["split"], placed),
    )


def _of_split(table: pa.Table, split: str | None) -> pa.Table:
    if split is None:
        return table
    names = [name for name in pc.unique(table["split"]).to_pylist() if name is not None]
    if split not in names:
        raise InputError(
            Problem(field="train_split", problem="no row of sales has this split", found=split,
                    allowed=", ".join(names) or "none: the sales have no split", nearest=nearest(split, names))
        )  # fmt: skip
    kept = pc.is_in(table["split"], value_set=pa.array([split, "test"], pa.string()))
    return table.filter(pc.or_(kept, pc.is_null(table["split"])))


def covariate_schema(shop: Shop, table: pa.Table) -> CovariateSchema:
    """covariates.yaml of the shop, or what its columns tell; columns without a single value are no covariates."""
    present = [name for name in table.column_names if name not in NOT_COVARIATES]
    schema = read_covariates(shop.path, present)
    filled = {name for name in present if table[name].null_count < len(table)}
    kept = {}
    for name, covariate in schema.covariates.items():
        numeric = pa.types.is_integer(table[name].type) or pa.types.is_floating(table[name].type)
        if name not in filled or not (numeric or covariate.kind == "static" or pa.types.is_boolean(table[name].type)):
            continue
        kept[name] = covariate
    return CovariateSchema(covariates=kept)


def _refuse_duplicates(table: pa.Table, code_N: Ints, period_N: Ints, frequency: Frequency) -> None:
    twice = (np.diff(code_N) == 0) & (np.diff(period_N) == 0)
    if twice.any():
        row = int(twice.argmax()) + 1
        found = f"{table['series_id'][row].as_py()}, {table['timestamp'][row].as_py().isoformat()}"
        raise InputError(
            Problem(table="sales", column="timestamp", problem=f"two rows of a series in one {frequency.unit}",
                    found=found, allowed="one row a series and period")
        )  # fmt: skip


def _series(table: pa.Table, code_N: Ints, ids: tuple[str, ...], schema: CovariateSchema) -> SeriesTable:
    """The last value that each series has of what does not change."""

    def last(name: str) -> tuple[Static, ...]:
        column = table[name]
        valid = pc.is_valid(column).to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(valid)
        place_S = np.full(len(ids), -1)
        place_S[code_N[rows]] = rows
        taken = column.take(pa.array(np.maximum(place_S, 0))).to_pylist()
        return tuple(value if place >= 0 else None for value, place in zip(taken, place_S, strict=True))

    def words(name: str) -> tuple[str | None, ...]:
        return tuple(None if value is None else str(value) for value in last(name))

    static: Mapping[str, tuple[Static, ...]] = {name: last(name) for name in schema.named("static")}
    return SeriesTable(series_id=ids, item_id=words("item_id"), location=words("location"), static=static)


def _held_out(split: pa.ChunkedArray, placed: _Placed) -> Bools | None:
    """Where the split says test; None where no row does."""
    test_N = pc.fill_null(pc.equal(split, "test"), False).to_numpy(zero_copy_only=False)
    if not test_N.any():
        return None
    test_SP = np.zeros(placed.shape, np.bool_)
    test_SP[placed.row_N, placed.column_N] = test_N
    return test_SP
