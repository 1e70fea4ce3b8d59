"""Every file becomes one RGB picture or a refusal with its reason, within bounded memory."""

from __future__ import annotations

import pickle
import struct
import subprocess
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from tests.hostile_images import chunk, encoded, hostile_files, photo, png, segment
from training.features.image_kinds import foreign_content, webp_size
from training.features.images import MAX_IMAGE_BYTES, WORKING_SIDE, ImageFault, crop, open_picture

HOSTILE = hostile_files()
MEMORY_BOUND_MB = 700
"""Of one decoding; a WEBP of 40 megapixels takes the most."""
MOST_S = 1.0
"""Of a thread's time, for one hostile file."""
OPEN_ALL = """
import resource, sys
from pathlib import Path
from training.features.images import ImageFault, open_picture

before_kb, opened = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0
for file in sorted(Path(sys.argv[1]).iterdir()):
    try:
        opened += open_picture(file.read_bytes()).size > 0
    except ImageFault:
        pass
print(opened, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) // 1024)
"""
RED, WHITE = (255, 0, 0), (255, 255, 255)


def test_there_are_forty() -> None:
    assert len(HOSTILE) >= 40


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_refused_with_its_reason(name: str) -> None:
    data, kind = HOSTILE[name]
    started_s = time.thread_time()
    with pytest.raises(ImageFault) as refused:
        open_picture(data)
    assert time.thread_time() - started_s < MOST_S
    assert refused.value.kind == kind, str(refused.value)
    assert len(str(refused.value)) > 10


def test_memory_stays_bounded(tmp_path: Path) -> None:
    """The hostile files and the largest pictures that are taken, one after the other in a process of their own."""
    largest = Image.new("RGBA", (8_000, 5_000), (*RED, 128))
    good = {kind: encoded(largest, kind) for kind in ("PNG", "WEBP")}
    for name, data in {**good, **{name: data for name, (data, _) in HOSTILE.items()}}.items():
        (tmp_path / name).write_bytes(data)
    command = [sys.executable, "-c", OPEN_ALL, str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.split()
    assert int(said[0]) == len(good)
    assert int(said[1]) < MEMORY_BOUND_MB


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_file_is_a_picture_or_a_fault(data: st.DataObject) -> None:
    """Whatever is cut off, or overwritten by whatever."""
    whole = encoded(photo(), data.draw(st.sampled_from(["JPEG", "PNG", "WEBP"])))
    at = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.just(len(whole)) | st.integers(at, len(whole)))
    try:
        picture = open_picture(whole[:at] + data.draw(st.binary(max_size=8)) + whole[at:end])
    except ImageFault:
        return
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "1", "CMYK"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = photo().convert(mode)
    picture = open_picture(encoded(image, "JPEG" if mode == "CMYK" else "PNG"))
    expected = np.asarray(image.convert("RGB"))
    assert np.abs(picture.astype(int) - expected).mean() < 8


def test_alpha_lies_on_white() -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (*RED, 255))
    assert open_picture(encoded(image, "PNG")).tolist() == [[list(WHITE), list(RED)]]


def test_sixteen_bits_become_eight() -> None:
    grey = Image.fromarray(np.array([[0, 256, 65_535]], np.uint16))
    assert open_picture(encoded(grey, "PNG"))[0, :, 0].tolist() == [0, 1, 255]


def test_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (32, 16), WHITE)
    image.paste(RED, (0, 0, 8, 16))
    picture = open_picture(encoded(image, exif=exif, quality=95))
    assert picture.shape == (32, 16, 3)
    assert picture[2, 8, 1] < 64 < picture[20, 8, 1]


@pytest.mark.parametrize("size", [(32, 16), (1600, 1200)])
def test_orientation_is_applied_beside_tags_of_the_wrong_kind(size: tuple[int, int]) -> None:
    """Of one byte order, six tags: orientation 6, and a resolution in words that should be a ratio."""
    tags = [(0x0112, 3, 1, struct.pack("<HH", 6, 0)), (0x011A, 2, 4, b"72 \0"), (0x0213, 2, 2, b"1\0\0\0")]
    entries = b"".join(struct.pack("<HHI", tag, kind, count) + value for tag, kind, count, value in tags)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    jpeg = encoded(photo().resize(size))
    height, width = open_picture(jpeg).shape[:2]
    assert open_picture(jpeg[:2] + segment(0xE1, exif) + jpeg[2:]).shape == (width, height, 3)


@pytest.mark.parametrize(("kind", "behind"), [("JPEG", "PNG"), ("JPEG", "GIF"), ("PNG", "JPEG"), ("PNG", "PNG")])
def test_a_second_picture_behind_the_first_is_named(kind: str, behind: str) -> None:
    with pytest.raises(ImageFault, match=f"this {kind} is also {behind} behind its end") as fault:
        open_picture(encoded(photo(32), kind) + encoded(photo(16), behind))
    assert fault.value.kind == "not_an_image"


def test_what_phones_put_behind_a_picture_is_let_be() -> None:
    for behind in (encoded(photo(16)), bytes(4) + b"ftypmp42" + bytes(64)):
        assert open_picture(encoded(photo(32)) + behind).shape == (32, 32, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_broken_exif_says_nothing_of_the_pixels(kind: str) -> None:
    picture = open_picture(encoded(photo(32), kind, exif=b"Exif\0\0garbage!"))
    assert picture.shape == (32, 32, 3)
    profile = PngImagePlugin.PngInfo()
    profile.add_text("Raw profile type exif", "\nexif\n 8\nno hexadecimal number\n")
    assert open_picture(encoded(photo(32), "PNG", pnginfo=profile)).shape == (32, 32, 3)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(["PNG", "WEBP"]), st.binary(max_size=80), st.integers(0, 60))
def test_no_exif_whatever_it_holds_costs_a_picture(kind: str, noise: bytes, place: int) -> None:
    """But for a page or an archive in it, which is refused wherever it stands."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x011A] = 1, "maker", 72.0
    whole = exif.tobytes()
    for broken in (noise, whole[:place], whole[:place] + noise + whole[place + len(noise) :]):
        data = encoded(Image.new("RGB", (8, 8)), kind, exif=broken)
        assume(foreign_content(data) is None)
        assert open_picture(data).size == 8 * 8 * 3


@pytest.mark.parametrize("form", [{}, {"lossless": True}, {"exif": b"Exif\0\0"}])
def test_a_webp_says_how_large_it_is_before_it_is_opened(form: dict[str, Any]) -> None:
    data, asked = encoded(Image.new("RGB", (517, 333)), "WEBP", **form), list[int]()

    def turn(pixels: int) -> AbstractContextManager[object]:
        asked.append(pixels)
        return nullcontext()

    assert webp_size(data) == (517, 333)
    open_picture(data, turn=turn)
    assert asked == [517 * 333]


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, WHITE, RED)]
    for kind in ("PNG", "WEBP"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
        assert open_picture(data)[4, 4].tolist() == list(RED)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_large_photo_is_shrunk_and_looks_the_same(kind: str) -> None:
    image = photo(3_000)
    shrunk, whole = (open_picture(encoded(image, kind), least_side=side) for side in (WORKING_SIDE, None))
    assert whole.shape == (3_000, 3_000, 3)
    assert WORKING_SIDE <= max(shrunk.shape) < 2 * WORKING_SIDE
    small, smaller = (np.asarray(Image.fromarray(picture).resize((32, 32))) for picture in (shrunk, whole))
    assert np.abs(small.astype(int) - smaller).max() <= 3


def test_the_caps_themselves_are_taken() -> None:
    assert open_picture(png(10_000, 4_000)).shape[1] >= WORKING_SIDE
    padded = encoded(photo())
    assert len(open_picture(padded + bytes(MAX_IMAGE_BYTES - len(padded)))) == 64


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("size", [(1_281, 1), (3, 3_000), (10_000, 10), (1, 10_000)])
def test_thin_pictures_are_taken(kind: str, size: tuple[int, int]) -> None:
    picture = open_picture(encoded(photo().resize(size), kind))
    assert WORKING_SIDE <= max(picture.shape) < 2 * WORKING_SIDE
    assert (picture.shape[0] > picture.shape[1]) == (size[1] > size[0])


def test_profiles_notes_and_restart_markers_are_no_flood() -> None:
    jpeg = encoded(photo(256), progressive=True, restart_marker_blocks=1)
    assert jpeg.count(b"\xff\xd0") > 300
    profile = b"".join(segment(0xE2, b"ICC_PROFILE\0" + bytes((part, 255)) + bytes(9)) for part in range(1, 256))
    assert open_picture(jpeg[:2] + profile + jpeg[2:]).shape == (256, 256, 3)
    assert open_picture(png(8, 8, chunk(b"tEXt", b"a\0b") * 200)).shape == (8, 8, 3)


def test_crop_takes_what_the_box_holds() -> None:
    picture = np.arange(10 * 20 * 3, dtype=np.uint32).astype(np.uint8).reshape(10, 20, 3)
    np.testing.assert_array_equal(crop(picture, (0, 0, 1, 1)), picture)
    np.testing.assert_array_equal(crop(picture, (0.5, 0.2, 0.75, 0.4)), picture[2:4, 10:15])
    assert crop(picture, (1.0, 1.0, 1.0, 1.0)).shape == (1, 1, 3)


def test_a_fault_travels_between_processes() -> None:
    fault = pickle.loads(pickle.dumps(ImageFault("too_large", "far too large")))
    assert (fault.kind, str(fault)) == ("too_large", "far too large")
