"""Every deployment of the registry, and every route against its own OpenAPI."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from deployments.assembly import STAGES, open_stage
from deployments.messages import (
    Article,
    AskedSeries,
    ForecastQuery,
    Missing,
    PhotoQuery,
    RankingQuery,
    RetrievalQuery,
)
from deployments.stage_host import StageHost
from tests.forecast_bundle import publish_forecaster
from tests.serving_shop import Home, Serving, client_of, make_shop, serve_in_process, train
from tests.vision_bundle import item_picture, publish_vision
from training.features.profile import Profile
from training.features.ranking import RankingInputs
from training.models.forecaster import SeriesForecast

EXAMPLES_PER_ROUTE = 40
UNHURRIED = {"X-Timeout-Ms": "30000"}
"""A busy machine's 503 is no broken route."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    root: Path = tmp_path_factory.mktemp("serving")
    shop = make_shop(root / "shop")
    home = Home(root, shop, train(shop, root))
    home.import_shop()
    home.publish()
    publish_vision(home)
    publish_forecaster(home)
    return home


@pytest.fixture(scope="module")
def serving(home: Home) -> Iterator[Serving]:
    serving = serve_in_process(home.config())
    serving.load_champion()
    with client_of(serving):
        yield serving
    serving.live.close()


def test_no_request_breaks_a_route(serving: Serving) -> None:
    """Whatever a client sends, the answer is one that the OpenAPI document describes."""
    schema = schemathesis.openapi.from_asgi("/v1/openapi.json", serving.api)
    for operation in schema.get_all_operations():
        found = operation.ok()

        @settings(
            max_examples=EXAMPLES_PER_ROUTE,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        )
        @given(case=st.one_of(*(found.as_strategy(generation_mode=mode) for mode in GenerationMode)))
        def check(case: schemathesis.Case) -> None:
            checks = [not_a_server_error, content_type_conformance, response_schema_conformance]
            case.call_and_validate(checks=checks, headers=UNHURRIED)

        check()


def check_deployment(name: str, home: Home) -> None:
    """Empty without a bundle, independent answers in any batch, and messages that travel between processes."""
    host = open_stage(name, home.config())
    query = _query(name, "nobody holds this")
    assert host.status().versions == ()
    assert host.answer([query]) == [Missing("nobody holds this")]
    host.follow()
    job = STAGES[name].jobs[0]
    (version,) = {loaded.version for loaded in host.held() if loaded.manifest.job == job}
    queries = [_query(name, version), query, _query(name, version, "i02")]
    together = host.answer(queries)
    assert isinstance(together[1], Missing)
    for place in (0, 2):
        alone = pickle.loads(pickle.dumps(host.answer([pickle.loads(pickle.dumps(queries[place]))])[0]))
        _assert_same(together[place], alone)
    _close(host)


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_conforms(name: str, home: Home) -> None:
    check_deployment(name, home)


def _query(name: str, version: str, item_id: str = "i01") -> RetrievalQuery | RankingQuery | PhotoQuery | ForecastQuery:
    import numpy as np

    if name == "visual_search":
        return PhotoQuery(version, item_picture(int(item_id[1:])), 5, 2)
    if name == "forecasting":
        return ForecastQuery(version, (AskedSeries(None, item_id),))
    if name == "retrieval":
        return RetrievalQuery(version, "history", (item_id, "i09"), (0, 60_000_000))
    return RankingQuery(
        version, Profile("u", (item_id,), ("view",), (1,), (0.5,)), ["i01", "i05"], np.ones(2, np.float32), 10
    )


def _assert_same(one: tuple[object, ...], other: tuple[object, ...]) -> None:
    import numpy as np

    for left, right in zip(one[:-1], other[:-1], strict=True):
        if isinstance(left, RankingInputs):
            _assert_same((*left, None), (*right, None))  # type: ignore[misc]
        elif isinstance(left, np.ndarray):
            assert isinstance(right, np.ndarray)
            np.testing.assert_allclose(left, right, atol=1e-5)
        elif isinstance(left, list) and isinstance(left[0], Article):
            _assert_same_articles(left, right)
        elif isinstance(left, list) and isinstance(left[0], SeriesForecast):
            _assert_same_forecasts(left, right)
        else:
            assert left == right


def _assert_same_forecasts(one: list[SeriesForecast], other: object) -> None:
    import numpy as np

    assert isinstance(other, list)
    for left, right in zip(one, other, strict=True):
        assert (left.series_id, left.model) == (right.series_id, right.model)
        np.testing.assert_allclose(left.mean_H, right.mean_H, rtol=1e-9)
        np.testing.assert_allclose(left.quantiles_QH, right.quantiles_QH, rtol=1e-9)


def _assert_same_articles(one: list[Article], other: object) -> None:
    assert isinstance(other, list)
    for left, right in zip(one, other, strict=True):
        assert left[:2] == right[:2]
        assert [item_id for item_id, _ in left.items] == [item_id for item_id, _ in right.items]
        assert [score for _, score in left.items] == pytest.approx([score for _, score in right.items], abs=1e-5)


def _close(host: StageHost) -> None:
    for loaded in host.held():
        loaded.model.live.close()  # type: ignore[attr-defined]
