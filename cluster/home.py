"""Where Shopkeeper keeps what it makes: SHOPKEEPER_HOME, by default `.shopkeeper/` in the current folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

HOME_VARIABLE = "SHOPKEEPER_HOME"
DEFAULT_HOME = ".shopkeeper"
STATE_VARIABLE = "SHOPKEEPER_STATE"


@dataclass(frozen=True)
class Home:
    """The folders of one home; nothing is created before something is written."""

    root: Path

    @property
    def shops(self) -> Path:
        return self.root / "shops"

    @property
    def bundles(self) -> Path:
        """`<shop_id>/<job>/<version>/`."""
        return self.root / "bundles"

    @property
    def releases(self) -> Path:
        """`<shop_id>/...`."""
        return self.root / "releases"

    @property
    def run(self) -> Path:
        """Lock, supervisor, status and logs of what runs now."""
        return self.root / "run"

    def shop(self, name: str) -> Path:
        return self.shops / name

    def runs(self, shop_id: str, job: str) -> Path:
        """One folder per training run: checkpoints and report."""
        return self.root / "runs" / shop_id / job

    def studies(self, shop_id: str, job: str) -> Path:
        """One folder per study: trials, best config and report."""
        return self.root / "studies" / shop_id / job

    def state_url(self, shop_id: str) -> str:
        """The shop's live state: SHOPKEEPER_STATE (redis://...), else a SQLite file of this home."""
        return os.environ.get(STATE_VARIABLE) or f"sqlite:///{self.root / 'state' / f'{shop_id}.sqlite'}"

    def state_shop_ids(self) -> list[str]:
        """The shops that have state: the SQLite files, or with a shared store every shop that has releases here."""
        if os.environ.get(STATE_VARIABLE):
            return sorted(folder.name for folder in self.releases.glob("*") if folder.is_dir())
        return sorted(file.stem for file in (self.root / "state").glob("*.sqlite"))


def home() -> Home:
    """The home of this process."""
    return Home(Path(os.environ.get(HOME_VARIABLE) or DEFAULT_HOME).absolute())
