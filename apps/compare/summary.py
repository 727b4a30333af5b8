"""The statistics of runs that differ in their seed: means, deviations, and gains paired by seed."""
from __future__ import annotations

import math
from typing import Callable, Mapping, NamedTuple, Sequence

import numpy
import scipy.stats

from runs import PLACES, Run, cell

CONFIDENCE = 0.95
Measure = Callable[[Run], float]


class Estimate(NamedTuple):
    """The mean of `count` values and their standard deviation, the sample's: None of a single value."""
    count: int
    mean: float
    deviation: float | None


class Gain(NamedTuple):
    """The mean of `count` differences, one a seed; its standard error and its 95 % interval by Student's t: None of a
    single difference, which tells nothing of the spread."""
    count: int
    mean: float
    error: float | None
    low: float | None
    high: float | None

    @property
    def clear(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


def estimate(values: Sequence[float]) -> Estimate | None:
    """None of no values."""
    if not values:
        return None
    deviation = float(numpy.std(values, ddof=1)) if len(values) > 1 else None
    return Estimate(len(values), float(numpy.mean(values)), deviation)


def paired_gain(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Gain | None:
    """Of `ours` over `theirs`, values by seed, over the seeds that both have. None if they share none."""
    seeds = sorted(ours.keys() & theirs.keys())
    return gain_of([ours[seed] - theirs[seed] for seed in seeds])


def gain_of(differences: Sequence[float]) -> Gain | None:
    """None of no differences."""
    found = estimate(differences)
    if found is None:
        return None
    if found.deviation is None:
        return Gain(1, found.mean, None, None, None)
    error = found.deviation / math.sqrt(found.count)
    reach = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, found.count - 1)) * error
    return Gain(found.count, found.mean, error, found.mean - reach, found.mean + reach)


def counterpart(run: Run, runs: Sequence[Run]) -> Run | None:
    """The same student of the standard teacher from whom the run's generous teacher learned; None where there is
    none."""
    if run.stage != "student" or run.teacher is None or run.teacher.stage != "generous":
        return None
    wanted = settings_of(run)
    for other in runs:
        if (other.stage == "student" and other.teacher is not None and other.teacher is run.teacher.teacher and
                other.seed == run.seed and settings_of(other) == wanted):
            return other
    return None


def alone(run: Run, runs: Sequence[Run]) -> Run | None:
    """The run of a student's network, images, epochs and seed without a teacher: of several the one with the most
    equal settings. None where there is none."""
    if run.stage != "student":
        return None
    decisive = ("model_name", "dataset", "num_epochs", "validation", "subset_percent", "seed")
    found = [other for other in runs if other.stage == "standard" and
             all(other.params.get(key) == run.params.get(key) for key in decisive)]
    wanted = settings_of(run)
    return max(found, key=lambda other: len(settings_of(other).items() & wanted.items()), default=None)


def settings_of(run: Run) -> dict[str, str]:
    """What decides the run but its seed and its teacher, as text."""
    return {key: repr(value) for key, value in run.params.items()
            if key not in PLACES and key not in ("teacher_model", "adversarial_model")}


def gain_over(runs: Sequence[Run], reference: Callable[[Run], Run | None], measure: Measure) -> Gain | None:
    """Of a cell's runs over the run that `reference` gives for each, by `measure`."""
    pairs = [(run, reference(run)) for run in runs if run.epochs]
    return gain_of([measure(run) - measure(other) for run, other in pairs if other is not None and other.epochs])


def last_accuracy(run: Run) -> float:
    """Of a run with at least one epoch."""
    return float(run.metrics["test_top1_percent"].iloc[-1])


def best_accuracy(run: Run) -> float:
    """Of a run with at least one epoch. Optimistic where the test images chose the epoch: see Run.validated."""
    best = run.best()
    return best.accuracy if best else float("nan")


def by_cell(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each cell that have finished an epoch, sorted by seed; cells in the order of the runs."""
    cells: dict[str, list[Run]] = {}
    for run in runs:
        if run.epochs:
            cells.setdefault(cell(run), []).append(run)
    return {name: sorted(group, key=lambda run: run.seed) for name, group in cells.items()}
