"""Whether a network knows how often it is right."""
import numpy
import pandas

from page import dots, theme
from page.accuracy import student_groups, teacher_groups
from page.curves import PANELS, panels
from page.reports import Report, reports_of
from page.section import Figure, Section, count
from page.study import Configuration, Study
from runs import Run

FEWEST = 10   # images in a bin: of fewer, an accuracy is mostly chance


def section(study: Study) -> Section:
    made = Section(
        "calibration", "When a network says 90 %, is it right 90 times of 100?",
        "A point is a group of test images of similar confidence, all seeds together: on the diagonal "
        "confidence and accuracy are equal, below it the network is too sure of itself. Groups of fewer than "
        f"{FEWEST} images are left out. The expected calibration error is the mean distance from the "
        f"diagonal, in points.")

    def error(run: Run) -> float | None:
        value = Report(run.report).value("expected_calibration_error") if run.report else None
        return None if value is None else 100 * value

    kinds = [(groups_of(study, error), what) for groups_of, what in
             ((teacher_groups, "teachers"), (student_groups, "students"))]
    span = dots.span_of(*(groups for groups, _ in kinds))
    made.figures.append([each for groups, what in kinds for each in
                         dots.figures(groups, f"expected calibration error [points], {what}",
                                      f"Expected calibration error of the {what}, in points", span=span)])
    parts = [(title, [(role, each) for role, each in part if each.reported]) for title, part in panels(study)]
    parts = [(title, part) for title, part in parts if part]
    drawn = [_diagram(title, part) for title, part in parts[:PANELS]]
    made.figures.append([each for each in drawn if each])
    if len(parts) > PANELS:
        made.notes.append(f"{count(len(parts) - PANELS, 'further diagram')} left out.")
    made.roles = theme.in_order(role for _, part in parts for role, _ in part)
    if study.without_report():
        made.missing.append(study.without_report())
    return made


def pooled(configuration: Configuration) -> pandas.DataFrame:
    """The bins of all its reports together: confidence, accuracy and images of those that have FEWEST
    images."""
    bins = pandas.concat([report.calibration for report in reports_of(configuration.runs)])
    bins = bins[bins["images"] > 0]
    weighted = bins[["confidence", "accuracy"]].mul(bins["images"], axis=0).assign(images=bins["images"])
    sums = weighted.groupby(bins.index).sum()
    sums = sums[sums["images"] >= FEWEST]
    return sums[["confidence", "accuracy"]].div(sums["images"], axis=0).assign(images=sums["images"])


def _diagram(title: str, part: list[tuple[str, Configuration]]) -> Figure | None:
    curves = [(role, found) for role, each in part if len(found := pooled(each))]
    if not curves:
        return None
    with theme.panel(330) as (canvas, axes):
        axes.plot([0, 100], [0, 100], color="#aaaaaa", linewidth=0.8)
        words = []
        for role, bins in curves:
            axes.plot(100 * bins["confidence"], 100 * bins["accuracy"], **theme.line(role), **_marks(role))
            gap = numpy.average(bins["confidence"] - bins["accuracy"], weights=bins["images"])
            fault = "too sure" if gap > 0 else "too unsure"
            words.append(f"{role} is {100 * abs(gap):.1f} points {fault} on average")
        axes.set_xlim(0, 101)
        axes.set_ylim(0, 101)
        axes.set_aspect("equal")
        axes.set_xlabel("confidence [%]")
        axes.set_ylabel("accuracy [%]")
        axes.grid(True)
        return theme.figure(canvas, f"Accuracy by confidence, {title}: {', '.join(words)}", title)


def _marks(role: str) -> dict:
    return {key: value for key, value in theme.mark(role).items() if key != "color"} | {"markersize": 4}
