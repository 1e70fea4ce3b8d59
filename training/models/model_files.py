"""Pre-trained models by name: whether a folder that is named holds one."""

from __future__ import annotations

from pathlib import Path

from training.contracts.errors import InputError, Problem

CONFIG_FILE, WEIGHTS = "config.json", "*.safetensors"


def check_model_folder(source: str, field: str) -> None:
    """Raises InputError for a path without a model in Hugging Face's format; any other name is left to its hub."""
    folder = Path(source)
    looks_like_a_path = folder.is_absolute() or source.startswith((".", "~")) or len(folder.parts) > 2
    if not folder.is_dir():
        if looks_like_a_path:
            raise _not_there(source, field, "no such folder")
        return
    lacking = [name for name in (CONFIG_FILE, WEIGHTS) if not any(folder.glob(name))]
    if lacking:
        raise _not_there(source, field, f"the folder has no {' and no '.join(lacking)}")


def _not_there(source: str, field: str, problem: str) -> InputError:
    allowed = (
        f"a folder with {CONFIG_FILE} and {WEIGHTS} (no other weights are read), a name on Hugging Face's hub, or null"
    )
    return InputError(Problem(field=field, problem=problem, found=source, allowed=allowed))
