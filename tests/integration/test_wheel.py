"""The wheel alone, in an interpreter that never saw the checkout, works from an empty folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT], check=True, timeout=120
    )
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def python(installed: Path, cwd: Path, *arguments: str) -> str:
    """Run the base interpreter with the wheel and its dependencies; .pth files of the editable install are not read."""
    interpreter = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    done = subprocess.run(
        [str(interpreter), *arguments], cwd=cwd, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": f"{installed}:{sysconfig.get_path('purelib')}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_carries_configs_and_no_tests(installed: Path) -> None:
    assert (installed / "configs" / "deployments" / "small.yaml").is_file()
    assert (installed / "configs" / "training" / "recommender.yaml").is_file()
    assert not (installed / "tests").exists()


def test_the_command_line_works_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    where = python(installed, tmp_path, "-c", "import cluster; print(cluster.__file__)")
    assert where.startswith(str(installed))
    names = [
        row["name"] for row in json.loads(python(installed, tmp_path, "-m", "cluster.cli", "data", "list", "--json"))
    ]
    assert "amazon-sequences" in names
    profile = python(
        installed, tmp_path, "-c", "from cluster.local.application import profile_file; print(profile_file('small'))"
    )
    checked = python(installed, tmp_path, "-m", "cluster.cli", "validate", profile.strip(), "--json")
    assert json.loads(checked)["ok"]
    assert list(tmp_path.iterdir()) == []
