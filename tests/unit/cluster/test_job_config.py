"""A job's configuration: defaults, file, then --set; every mistake by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from cluster.job_config import load_config
from training.contracts.errors import InputError, Problem


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    width: int = 64


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid")
    epochs: int = 10
    seed: int = 0
    inner: Inner = Inner()


def load(file: Path | None = None, *settings: str, seed: int | None = None) -> Config:
    return load_config(Config, file=file, settings=settings, seed=seed)


def refused(file: Path | None = None, *settings: str) -> Problem:
    with pytest.raises(InputError) as caught:
        load(file, *settings)
    return caught.value.problems[0]


def test_settings_override_the_file_which_overrides_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("epochs: 20\ninner:\n  width: 32\n")
    assert load() == Config()
    assert load(file) == Config(epochs=20, inner=Inner(width=32))
    assert load(file, "inner.width=16", seed=7) == Config(epochs=20, seed=7, inner=Inner(width=16))


def test_an_unknown_setting_names_the_nearest() -> None:
    assert refused(None, "epoch=3").nearest == "epochs"
    assert refused(None, "inner.widht=3").nearest == "width"


def test_a_setting_without_a_value_is_refused() -> None:
    assert refused(None, "epochs").allowed == "epochs=5"


@pytest.mark.parametrize("setting", ["epochs=many", "epochs=[1", "inner=3", "epochs.deep=3"])
def test_a_value_of_the_wrong_kind_is_refused(setting: str) -> None:
    assert refused(None, setting).problem


def test_a_file_that_is_not_a_mapping_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("- 1\n")
    assert refused(file).file == str(file)
    assert refused(tmp_path / "absent.yaml").problem == "no such file"
