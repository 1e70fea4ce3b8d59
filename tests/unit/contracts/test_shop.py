"""A shop's fingerprint covers all that training reads of it."""

from __future__ import annotations

from pathlib import Path

from tests.demand_shop import SCHEMA, sales_rows, write_shop
from training.contracts.covariates import CovariateSchema


def test_other_covariates_are_another_shop(tmp_path: Path) -> None:
    columns = sales_rows(weeks=4, items=1)
    first, same = (write_shop(tmp_path / name, columns).fingerprint() for name in ("first", "same"))
    assert first == same
    later = SCHEMA.covariates["weather"].model_copy(update={"kind": "known_future"})
    schema = CovariateSchema(covariates={**SCHEMA.covariates, "weather": later})
    assert write_shop(tmp_path / "other", columns, schema).fingerprint() != first
