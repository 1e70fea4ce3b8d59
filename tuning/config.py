"""The typed form of configs/tuning/*.yaml: what a study varies, how it judges, when it stops."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Value = bool | int | float | str | None


class Dimension(BaseModel):
    """One setting to vary: a range (`low`, `high`, and `log` or `step`) or a list of `choices`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    low: int | float | None = None
    high: int | float | None = None
    log: bool = Field(default=False, description="drawn evenly over orders of magnitude")
    step: int | float | None = Field(default=None, gt=0)
    choices: tuple[Value, ...] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        range_is_given = self.low is not None and self.high is not None
        if (self.choices is None) != range_is_given or (self.choices is not None and self._range_fields()):
            raise ValueError("must be either {low, high} (with log or step) or {choices}")
        if self.low is not None and self.high is not None:
            self._check_range(self.low, self.high)
        return self

    def _range_fields(self) -> bool:
        return self.low is not None or self.high is not None or self.log or self.step is not None

    def _check_range(self, low: float, high: float) -> None:
        if low >= high:
            raise ValueError(f"low {low} must be below high {high}")
        if self.log and low <= 0:
            raise ValueError(f"low {low} must be above 0 where log is true")
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other")

    def ends(self) -> dict[str, Value]:
        """The values that say which ones are drawn, by the name of their field."""
        if self.choices is not None:
            return {f"choices.{place}": choice for place, choice in enumerate(self.choices)}
        return {"low": self.low, "high": self.high}

    def holds(self, value: Value) -> bool:
        """Whether `value` can be drawn."""
        if self.choices is not None:
            return value in self.choices
        if isinstance(value, (bool, str)) or value is None or self.low is None or self.high is None:
            return False
        steps = 0.0 if self.step is None else (value - self.low) / self.step
        return self.low <= value <= self.high and abs(steps - round(steps)) < 1e-9


class StudyConfig(BaseModel):
    """Settings of `tune`; `base` and `space` are settings of the job itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    job: str = Field(description="what is tuned, e.g. recommender")
    space: dict[str, Dimension] = Field(min_length=1, description="what varies, by the job's setting: transformer.dim")
    base: dict[str, Any] = Field(default_factory=dict, description="settings of the job that differ from its defaults")
    metric: str | None = Field(default=None, description="of validation; by default what the job selects by")
    mode: Literal["max", "min"] = "max"
    trials: int = Field(default=16, ge=1, le=10_000)
    parallel: int | None = Field(
        default=None, ge=1, le=1024, description="trials at a time; by default a processor each, one beside serving"
    )
    max_epochs: int = Field(default=20, ge=1, description="of a trial; the best is then trained as its config says")
    grace_period: int = Field(default=3, ge=1, description="epochs of every trial before it may be stopped")
    reduction_factor: float = Field(default=3, gt=1, description="one in so many trials passes each rung")
    patience: int = Field(default=4, ge=1, description="epochs without a better validation before a trial ends")
    time_budget_s: float | None = Field(default=None, gt=0, description="wall clock of all trials together")
    seed: int = Field(default=0, ge=0, description="of the search, and of every trial")

    @model_validator(mode="after")
    def _grace_fits(self) -> Self:
        if self.grace_period > self.max_epochs:
            raise ValueError(f"grace_period {self.grace_period} must not exceed max_epochs {self.max_epochs}")
        return self
