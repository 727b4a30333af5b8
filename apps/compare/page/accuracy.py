"""How accurate the networks become: last and best epoch, and the gain over the student alone."""
import math
from collections.abc import Callable

from page import dots, theme
from page.section import Section
from page.study import Comparison, Configuration, Study
from runs import Run
from summary import alone


def section(study: Study) -> Section:
    single = [each.name for each in study.configurations if len(each.runs) == 1]
    chosen = "the held-out validation images chose" if study.validated else "the test images themselves chose"
    made = Section(
        "accuracy", "How accurate does each network become?",
        "Large marks are means over seeds, small dots the seeds, bars one standard deviation to either side. "
        "The first figure of a kind has the last epoch, the second the best one, which " + chosen +
        (": an honest number as well." if study.validated else
         ": the maximum over epochs of a noisy measure, optimistic by construction."),
        roles=theme.in_order(each.role for each in study.configurations))
    if single:
        made.missing.append(_one_seed(study, single))
    optimistic = "" if study.validated else ": optimistic"
    for groups_of, what in ((teacher_groups, "teachers"), (student_groups, "students")):
        last = groups_of(study, lambda run: run.last().accuracy)
        best = groups_of(study, lambda run: run.best().accuracy)
        span = dots.span_of(last, best)
        both = [dots.figures(groups, f"top-1 of the {what} [%], {words}",
                             f"Test accuracy of the {what}, {words}, in percent", span=span)
                for groups, words in ((last, "last epoch"), (best, f"best epoch{optimistic}"))]
        made.figures += both if len(both[0]) > 1 else [both[0] + both[1]]
    return made


def _one_seed(study: Study, single: list[str]) -> str:
    if len(single) == len(study.configurations):
        return "Every configuration has one seed only: there is no spread to show."
    rest = " and others" if len(single) > 8 else ""
    return f"One seed only, so without a bar: {', '.join(single[:8])}{rest}."


def teacher_groups(study: Study, measure: Callable[[Run], float | None]) -> list[dots.Group]:
    """Standard teachers, each with the generous ones that learned from it. None: a run without the
    measure."""
    groups = []
    for standard in study.of_role("standard teacher"):
        pupils = [each for each in study.of_role("generous teacher")
                  if any(run.teacher in standard.runs for run in each.runs)]
        groups.append(dots.Group(standard.name, rows_of([("standard teacher", standard)], measure)))
        groups += [dots.Group(each.name, rows_of([("generous teacher", each)], measure))
                   for each in pupils]
    return groups


def student_groups(study: Study, measure: Callable[[Run], float | None]) -> list[dots.Group]:
    """A group for each comparison; before them networks that no student is compared with."""
    shown = {id(each) for comparison in study.comparisons for each in comparison.configurations}
    others = [each for each in study.of_role("alone", "student of another teacher") if id(each) not in shown]
    groups = [dots.Group(each.name, rows_of([(each.role, each)], measure)) for each in others]
    return groups + [dots.Group(each.name, rows_of(by_role(each), measure))
                     for each in study.comparisons]


def by_role(comparison: Comparison) -> list[tuple[str, Configuration]]:
    """A student alone may be somebody's teacher as well: here it is drawn as alone."""
    parts = (("alone", comparison.alone), ("student of standard", comparison.standard),
             ("student of generous", comparison.generous))
    return [(role, each) for role, each in parts if each]


def rows_of(parts: list[tuple[str, Configuration]], measure: Callable[[Run], float | None]) -> list[dots.Row]:
    rows = []
    for role, each in parts:
        values = [value for run in each.runs if (value := measure(run)) is not None and math.isfinite(value)]
        if values:
            rows.append(dots.Row(role, values))
    return rows


def benefit(study: Study) -> Section:
    """Students against the same ones alone."""
    made = Section("benefit", "Does a teacher help at all?",
                   "A student's gain over the same network without a teacher, seed by seed: dots are seeds, "
                   "the large mark is their mean, the bar its 95 % interval. A bar that leaves the dotted "
                   "line out tells a gain from chance.", roles=["student of standard", "student of generous"])
    groups = []
    for comparison in study.comparisons:
        rows = []
        for role, student in by_role(comparison)[bool(comparison.alone):]:
            gain = study.gain_over_alone(student)
            if gain:
                pairs = [(run, alone(run, study.runs)) for run in student.runs]
                values = [study.accuracy(run) - study.accuracy(other) for run, other in pairs if other]
                rows.append(dots.Row(role, values, (gain.low, gain.high) if gain.low is not None else None))
        groups.append(dots.Group(comparison.name, rows))
    made.figures.append(dots.figures(groups, "gain over the student alone [points]",
                                "Gain over the student alone, in points", reference=(0.0, "alone")))
    if not made.figures[0]:
        made.missing.append("No student has a counterpart that learned alone with the same seed.")
    return made
