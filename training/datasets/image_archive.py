"""Images out of a zip archive, written nowhere but where we say."""

from __future__ import annotations

import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from training.contracts.errors import InputError, Problem, shorten
from training.contracts.progress import Progress

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
MAX_MEMBERS = 1_000_000
MAX_IMAGE_BYTES = 20_000_000
MAX_TOTAL_BYTES = 20_000_000_000


def extract_images(archive: Path, folder: Path, wanted: set[str], progress: Progress) -> dict[str, str]:
    """Write the images whose name without suffix is `wanted` into `folder`; returns file name by that name.

    Raises InputError naming a member that would leave the folder, is a link, or is too large.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = list(_images(archive, opened.infolist(), wanted))
            progress.stage(f"unpacking {archive.name}", len(members))
            folder.mkdir(parents=True, exist_ok=True)
            for member in members:
                (folder / PurePosixPath(member.filename).name).write_bytes(_content(archive, opened, member))
                progress.advance()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise InputError(Problem(file=str(archive), problem=f"cannot be unpacked: {error}")) from error
    paths = [PurePosixPath(member.filename) for member in members]
    return {path.stem: path.name for path in paths}


def _images(archive: Path, members: list[zipfile.ZipInfo], wanted: set[str]) -> Iterator[zipfile.ZipInfo]:
    """The wanted members, after every member has been found harmless."""
    if len(members) > MAX_MEMBERS or sum(member.file_size for member in members) > MAX_TOTAL_BYTES:
        raise InputError(
            Problem(
                file=str(archive), problem="is too large", allowed=f"{MAX_MEMBERS:,} members, {MAX_TOTAL_BYTES:,} bytes"
            )
        )
    seen: set[str] = set()
    for member in members:
        problem = member_problem(member)
        path = PurePosixPath(member.filename)
        image = not member.is_dir() and path.suffix.lower() in IMAGE_SUFFIXES and path.stem in wanted
        if image and path.stem in seen:
            problem = "a second image of the same name"
        if problem:
            raise InputError(Problem(file=str(archive), field=shorten(member.filename), problem=problem))
        if image:
            seen.add(path.stem)
            yield member


def member_problem(member: zipfile.ZipInfo) -> str | None:
    """Why a member of an archive from outside must not be unpacked, or None."""
    name = member.filename
    parts = re.split(r"[/\\]", name)
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        return "the member has an absolute path"
    if ".." in parts:
        return "the member leaves the folder"
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "the member is a link or a device"
    if member.flag_bits & 1:
        return "the member is encrypted"
    if member.file_size > MAX_IMAGE_BYTES:
        return f"the member has more than {MAX_IMAGE_BYTES:,} bytes"
    return None


def _content(archive: Path, opened: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """The member's bytes, never more than a header that may lie allows."""
    with opened.open(member) as file:
        content = file.read(MAX_IMAGE_BYTES + 1)
    if len(content) > MAX_IMAGE_BYTES:
        raise InputError(Problem(file=str(archive), field=shorten(member.filename), problem="is larger than it says"))
    return content
