"""What the gateway and its stages say to each other; arrays travel as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from training.features.images import Box, FaultKind, ImageFault, Picture
from training.features.profile import Profile
from training.features.ranking import RankingInputs, RequestFacts
from training.models.assortment import Verdict
from training.models.forecaster import SeriesForecast

Mode = Literal["history", "similar", "given"]


class RetrievalQuery(NamedTuple):
    """Candidates for one user, from the bundle `version`.

    history: the best for `history` with `context` appended; similar: the nearest to `context[0]`;
    given: the scores of `given` for that history. `history_us` are when the items of the history were met, `as_of_us`
    is now: when those of the context are.
    """

    version: str
    mode: Mode
    history: tuple[str, ...]
    history_us: tuple[int, ...]
    context: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    excluded_hashes: frozenset[int] = frozenset()
    filter: str | None = None
    most: int = 100
    as_of_us: int = 0


class Candidates(NamedTuple):
    """Items best first with the user tower's scores [C]; `affinity_C` is their likeness to the context, 0 to 1."""

    version: str
    item_ids: list[str]
    scores_C: npt.NDArray[np.float32]
    affinity_C: npt.NDArray[np.float32] | None = None
    view_age_ms: float = 0.0


class RankingQuery(NamedTuple):
    """Candidates of one user to be judged `as_of_us` by the bundle `version`: a ranker's, or a recommender's own."""

    version: str
    profile: Profile
    item_ids: list[str]
    scores_C: npt.NDArray[np.float32]
    as_of_us: int
    request: RequestFacts = RequestFacts()


class Ranked(NamedTuple):
    """Scores [C], 0 or more, in the order of the query, and the inputs that they were computed from.

    `probabilities_CH` are those of the ranker's `heads`, calibrated; a recommender's own ranker has none.
    """

    version: str
    scores_C: npt.NDArray[np.float64]
    inputs: RankingInputs
    heads: tuple[str, ...]
    probabilities_CH: npt.NDArray[np.float64]
    view_age_ms: float = 0.0


class PhotoQuery(NamedTuple):
    """A photo's file, and how many articles in it, and items of each, are wanted from the bundle `version`."""

    version: str
    data: bytes
    most_items: int
    most_articles: int
    filter: str | None = None
    text: str = ""
    text_weight: float = 0.5
    picture: Picture | ImageFault | None = None
    """What the file holds, once it is decoded."""


class Article(NamedTuple):
    """Something in a photo, and the items nearest to it, best first; the last article is the whole photo."""

    box: Box
    label: str | None
    score: float
    items: list[tuple[str, float]]


class Seen(NamedTuple):
    """What is in a photo."""

    version: str
    articles: list[Article]
    view_age_ms: float = 0.0


class Wordless(NamedTuple):
    """The bundle has no texts of items that words could be compared with."""

    version: str
    view_age_ms: float = 0.0


class Refused(NamedTuple):
    """Why the file is no photo that can be looked at."""

    version: str
    kind: FaultKind
    reason: str
    view_age_ms: float = 0.0


class Missing(NamedTuple):
    """The replica does not hold the bundle that the query asked for."""

    version: str


class AskedSeries(NamedTuple):
    """A series by its id, or by its item and location."""

    series_id: str | None
    item_id: str | None = None
    location: str | None = None


class GivenCovariates(NamedTuple):
    """What a caller says of one period of a series."""

    series_id: str
    timestamp_us: int
    values: Mapping[str, float]


class ForecastQuery(NamedTuple):
    """Series to forecast with the bundle `version`; by default as far as it was trained for, at its own quantiles."""

    version: str
    series: tuple[AskedSeries, ...]
    horizon: int | None = None
    quantiles: tuple[float, ...] = ()
    covariates: tuple[GivenCovariates, ...] = ()


class Forecasts(NamedTuple):
    """Of each series asked about, in order; `quantiles` are the levels of quantiles_QH."""

    version: str
    series: list[SeriesForecast]
    quantiles: tuple[float, ...]
    backtest: Mapping[str, float]
    period_days: float
    view_age_ms: float = 0.0


class AssortmentQuery(NamedTuple):
    """Which items of a category are worth selling, at a location where that is given."""

    version: str
    category: str | None
    location: str | None
    limit: int


class SelectionList(NamedTuple):
    """Best first; what is expected is of the next `periods`."""

    version: str
    verdicts: list[Verdict]
    periods: int
    backtest: Mapping[str, float]
    view_age_ms: float = 0.0


class Unforecastable(NamedTuple):
    """What is wrong with a query, field by field."""

    version: str
    problems: list[dict[str, str | None]]
    view_age_ms: float = 0.0
