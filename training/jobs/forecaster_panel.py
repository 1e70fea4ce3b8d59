"""A shop's demand as the forecaster sees it, in training, in evaluation and in batch forecasts alike."""

from __future__ import annotations

from pathlib import Path

from training.bundles.manifest import Manifest
from training.bundles.store import MANIFEST
from training.contracts.shop import Shop
from training.features.demand import Panel
from training.features.periods import Frequency
from training.features.sales_panel import read_panel
from training.features.stockouts import recovered, stockout_mask
from training.jobs.forecaster_config import ForecasterConfig


def demand_panel(shop: Shop, config: ForecasterConfig, frequency: Frequency | None = None) -> Panel:
    """The sales, their stock-outs recovered where the config says so and the shop knows its stock."""
    panel = read_panel(shop, frequency=frequency, split=config.train_split)
    if config.recover_stockouts and shop.has("inventory"):
        return recovered(panel, stockout_mask(shop, panel))
    return panel


def bundled_config(folder: Path) -> ForecasterConfig:
    """What the bundle was trained with, for a shop of which every split counts."""
    manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    return ForecasterConfig.model_validate(manifest.config).model_copy(update={"train_split": None})
