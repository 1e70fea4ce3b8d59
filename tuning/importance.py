"""How much each setting of a study decides its score."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import BaseModel

from tuning.config import Dimension, StudyConfig
from tuning.results import Outcomes
from tuning.space import is_integer

LEAST_TRIALS = 8
"""With fewer scores there is nothing to tell apart."""


def distributions(study: StudyConfig, model: type[BaseModel]) -> dict[str, BaseDistribution]:
    """The space in Optuna's words."""
    return {
        name: _distribution(dimension, integer=dimension.choices is None and is_integer(model, name))
        for name, dimension in study.space.items()
    }


def importances(study: StudyConfig, model: type[BaseModel], outcomes: Outcomes) -> dict[str, float]:
    """Shares that sum to 1, the greatest first; empty where too few trials have a score.

    Source: Watanabe, Bansal and Hutter, PED-ANOVA, IJCAI 2023.
    """
    scored = [outcome for outcome in outcomes if outcome.score is not None]
    if len(scored) < LEAST_TRIALS or len({outcome.score for outcome in scored}) == 1:
        return {}
    told = optuna.create_study(direction="maximize" if study.mode == "max" else "minimize")
    space = distributions(study, model)
    told.add_trials([
        optuna.trial.create_trial(params=outcome.values, distributions=space, value=outcome.score)
        for outcome in scored
    ])  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls the evaluator experimental
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        found: Mapping[str, float] = optuna.importance.get_param_importances(told, evaluator=evaluator)
    return dict(found)


def _distribution(dimension: Dimension, *, integer: bool) -> BaseDistribution:
    if dimension.choices is not None:
        return CategoricalDistribution(dimension.choices)
    low, high, step, log = dimension.low, dimension.high, dimension.step, dimension.log
    assert low is not None, "a dimension is a range or choices"
    assert high is not None, "a dimension is a range or choices"
    if integer:
        return IntDistribution(int(low), int(high), log=log, step=int(step or 1))
    return FloatDistribution(low, high, log=log, step=step)
