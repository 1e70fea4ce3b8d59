"""Settings of `train forecaster`; the defaults suit any shop."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator

from training.models.demand.registry import MEMBERS


class ForecasterConfig(BaseModel):
    """Settings of `train forecaster`; the defaults suit any shop."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 0
    horizon: int | None = Field(
        default=None,
        ge=1,
        le=400,
        description="periods ahead; by default the split's, else what the frequency suggests",
    )
    origins: int = Field(
        default=1, ge=1, le=200, description="rolling origins of the test, the last ends with the data"
    )
    members: tuple[str, ...] = Field(
        default=("last_value", "seasonal_naive", "median_26", "seasonal_mean", "auto_ets", "theta", "price_regression",
                 "lightgbm", "hybrid_network"),
        description="ways to forecast that the backtest chooses among",
    )  # fmt: skip
    backtest_origins: int | None = Field(
        default=None,
        ge=1,
        le=50,
        description="rolling origins inside the training periods; by default 3, 8 of few series",
    )
    sampled_series: int = Field(default=400, ge=20, description="that slow classical members are backtested on")
    country: str | None = Field(default=None, description="whose holidays count, as US; by default the currency's")
    recover_stockouts: bool = Field(default=True, description="demand of periods that sold out counts as censored")
    covariate_control: bool = Field(default=True, description="also measure LightGBM without known-future covariates")
    rounds: int = Field(default=150, ge=1, description="trees of LightGBM")
    epochs: int = Field(default=4, ge=0, description="of the network; 0 leaves it out")
    train_split: str | None = Field(default=None, description="only sales of this split and of none are learnt from")
    threads: int = Field(default=1, ge=1, description="of LightGBM and of the network")

    @field_validator("members")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in value if name not in MEMBERS]
        if unknown or not value:
            raise ValueError(f"no such way to forecast: {unknown}; there are {', '.join(MEMBERS)}")
        return value
