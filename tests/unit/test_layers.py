"""Imports run one way: who may use whom, who may use torch and Ray, and what `shopkeeper --help` reaches."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from cluster.cli import COMMANDS

ROOT = Path(__file__).parents[2]
PACKAGES = ("training", "tuning", "deployments", "cluster")

# What each room of training may import, besides itself.
CONTRACTS = {"training.contracts"}
MODELS = CONTRACTS | {"training.features", "training.metrics"}
ARTIFACTS = MODELS | {"training.bundles"}
JOBS = ARTIFACTS | {"training.datasets", "training.models", "training.indexes", "training.losses"}
MAY_IMPORT: dict[str, set[str]] = {
    "training.contracts": set(),
    "training.features": CONTRACTS,
    "training.bundles": CONTRACTS,
    "training.metrics": CONTRACTS,
    "training.losses": CONTRACTS,
    "training.datasets": ARTIFACTS,
    "training.indexes": MODELS,
    "training.models": MODELS | {"training.indexes"},
    "training.jobs": JOBS | {"training.page"},
    "training.page": CONTRACTS,
    "training.report": JOBS | {"training.jobs", "training.page"},
    "tuning": JOBS | {"training.jobs", "training.page"},
    "deployments": ARTIFACTS | {"training.models", "training.indexes"},
}
WITHOUT_TORCH = ("training.contracts", "training.features", "training.bundles", "training.datasets", "training.metrics")
WITHOUT_RAY = (
    *WITHOUT_TORCH,
    "training.models",
    "training.indexes",
    "training.losses",
    "training.page",
    "training.report",
)
# Train loops and deployments are plain; these wrap them for Ray.
RAY_WRAPPERS = {
    "training.jobs.ray_data",
    "training.jobs.ray_train",
    "training.jobs.batch",
    "tuning.study",
    "deployments.app",
    "deployments.adapter",
    "deployments.ray_shards",
    "deployments.ray_telemetry",
}
TORCH = ("torch", "transformers")
SLOW = {
    "ray",
    *TORCH,
    "numpy",
    "pandas",
    "pyarrow",
    "scipy",
    "faiss",
    "matplotlib",
    "pydantic_core",
    "fastapi",
    "tuning",
}


def module_files() -> dict[str, Path]:
    files = {}
    for path in (file for package in PACKAGES for file in (ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


MODULES = module_files()


@cache
def imports(module: str, *, top_only: bool = False) -> frozenset[str]:
    """The absolute names of what a module imports: anywhere, or only when it is imported itself."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    return frozenset(name for node in _walk(tree, top_only=top_only) for name in _names(node))


def _walk(node: ast.AST, *, top_only: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        lazy = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) or _is_type_checking(child)
        if top_only and lazy:
            continue
        yield child
        yield from _walk(child, top_only=top_only)


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        for alias in node.names:
            full = f"{node.module}.{alias.name}"
            yield full if full in MODULES else str(node.module)


def room(name: str) -> str:
    """`training.features.profile` -> `training.features`; other packages are one room each."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "training" else parts[0]


@pytest.mark.parametrize("module", [name for name in MODULES if room(name) not in ("training", "cluster")])
def test_imports_run_one_way(module: str) -> None:
    used = {room(name) for name in imports(module) if name.split(".")[0] in PACKAGES}
    assert used - {room(module)} <= MAY_IMPORT[room(module)]


@pytest.mark.parametrize(("rooms", "libraries"), [(WITHOUT_TORCH, TORCH), (WITHOUT_RAY, ("ray",))])
def test_rooms_without_torch_or_ray(rooms: tuple[str, ...], libraries: tuple[str, ...]) -> None:
    users = {
        module
        for module in MODULES
        if room(module) in rooms and any(name.split(".")[0] in libraries for name in imports(module))
    }
    assert users == set()


def test_ray_stays_in_its_wrappers() -> None:
    users = {
        module
        for module in MODULES
        if module.split(".")[0] in ("training", "tuning", "deployments")
        and any(name.split(".")[0] == "ray" for name in imports(module))
    }
    assert users <= RAY_WRAPPERS


def test_help_reaches_nothing_slow() -> None:
    reached = reached_from("cluster.cli", *(target.split(":")[0] for target in COMMANDS.values()))
    assert not {name.split(".")[0] for names in reached.values() for name in names} & SLOW
    assert {room(name) for name in reached} <= {"cluster", "training", "training.contracts"}


def test_the_gateway_reaches_no_torch() -> None:
    """It would cost each of the processes that do without it 2 s and 200 MB."""
    reached = reached_from("deployments.adapter")
    assert "deployments.gateway" in reached
    assert not {name.split(".")[0] for names in reached.values() for name in names} & {*TORCH, "faiss", "lightgbm"}


def reached_from(*modules: str) -> dict[str, frozenset[str]]:
    """What is imported with these, and by each of it."""
    reached: dict[str, frozenset[str]] = {}
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module in reached:
            continue
        parents = [module.rsplit(".", depth)[0] for depth in range(1, module.count(".") + 1)]
        reached[module] = imports(module, top_only=True) if module in MODULES else frozenset()
        waiting += [name for name in (*reached[module], *parents) if name in MODULES]
    return reached


def test_nothing_is_called_utils() -> None:
    forbidden = {"utils", "util", "helpers", "common", "misc"}
    assert not [name for name in MODULES if forbidden & set(name.split("."))]


def test_files_are_short() -> None:
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    assert max(lines.values()) <= 500
    assert sorted(lines.values())[len(lines) // 2] < 200
