"""One fit for all tests of serving; a home with state, bundle and champion for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.serving_shop import Home, Serving, client_of, make_shop, serve_in_process, train


@pytest.fixture(scope="session")
def trained_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The shop imported and a champion published; copied for every test."""
    root = tmp_path_factory.mktemp("serving")
    shop = make_shop(root / "shop")
    home = Home(root, shop, train(shop, root))
    home.import_shop()
    home.publish()
    return home


@pytest.fixture
def home(trained_home: Home, tmp_path: Path) -> Home:
    """A home of the test's own, with a champion."""
    return trained_home.copied(tmp_path / "home")


@pytest.fixture
def serving(home: Home) -> Iterator[Serving]:
    """Gateway and stages in this process, the champion loaded."""
    serving = serve_in_process(home.config(watch_period_s=0.02))
    serving.load_champion()
    yield serving
    serving.live.close()


@pytest.fixture
def http(serving: Serving) -> Iterator[TestClient]:
    """A client of the API of a shop that is served."""
    with client_of(serving) as client:
        yield client
