"""Files of a shop that are no pictures are refused before they are read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from training.features.images import MAX_IMAGE_BYTES, ImageFault
from training.jobs.pictures import read_picture


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    large = tmp_path / "large.jpg"
    large.touch()
    os.truncate(large, 1 << 40)
    with pytest.raises(ImageFault, match=f"1,099,511,627,776 bytes; at most {MAX_IMAGE_BYTES:,}") as fault:
        read_picture(large)
    assert fault.value.kind == "too_large"


@pytest.mark.timeout(20)
def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for place, said in ((tmp_path / "pipe.jpg", "not a regular file"), (tmp_path, "not a regular file"),
                        (tmp_path / "absent.jpg", "No such file")):  # fmt: skip
        with pytest.raises(ImageFault, match=said):
            read_picture(place)
