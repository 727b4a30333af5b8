"""Maps of classes by classes: differences of class logits, and of confusions."""
import numpy
from matplotlib.colors import TwoSlopeNorm

from page import theme
from page.reports import Report, reports_of
from page.section import Figure, Section, count, listing, minus
from page.study import Configuration, Study

PANELS, LARGE_PANELS = 12, 6
NUMBERED = 12    # up to so many classes, the values are written into the map
NAMED = 24       # up to so many, every class has its name beside the map
SMALL = 60       # of more, a map is large


def differences(study: Study) -> Section:
    """Class logits of generous teachers less their standard one, of students less their teacher."""
    made = Section(
        "class-logits", "Where do the logits differ?",
        "Rows are the images' classes, columns the outputs; each field is a difference of mean logits, of a "
        "generous teacher less its standard one or of a student less its own teacher, as the mean over "
        "seeds. Orange is more, purple less; all maps share one scale. The diagonal is the labels' own "
        "output: there a student that is less sure than its teacher is purple.")
    maps = [*_teacher_maps(study), *_student_maps(study)]
    _draw_all(made, maps, "logits", "Difference of class logits")
    if study.without_report():
        made.missing.append(study.without_report())
    elif not maps:
        made.missing.append("No report was made beside a teacher, and there is no generous teacher with a "
                            "report beside its standard one's.")
    return made


def _teacher_maps(study: Study) -> list[tuple[str, list[str], numpy.ndarray]]:
    maps = []
    for generous in study.of_role("generous teacher"):
        pairs = [(Report(run.report), Report(run.teacher.report)) for run in generous.reported
                 if run.teacher and run.teacher.report]
        values = [one.class_logits - other.class_logits for one, other in pairs
                  if one.classes == other.classes]
        if values:
            maps.append((generous.name, pairs[0][0].classes, numpy.mean(values, axis=0)))
    return maps


def _student_maps(study: Study) -> list[tuple[str, list[str], numpy.ndarray]]:
    maps = []
    for comparison in study.comparisons:
        for student in (comparison.standard, comparison.generous):
            reports = reports_of(student.runs) if student else []
            values = [found for report in reports if (found := report.class_logit_differences) is not None]
            if values:
                maps.append((student.name, reports[0].classes, numpy.mean(values, axis=0)))
    return maps


def confusions(study: Study) -> Section:
    """Of the generous teacher's student less the standard one's."""
    made = Section(
        "confusions", "Which mistakes does the generous teacher's student make more or less often?",
        "Rows are labels, columns answers; each field is a share of the label's images in points: the "
        "generous teacher's student less the standard one's, as the mean over seeds. On the diagonal orange "
        "is better, elsewhere purple is. All maps share one scale.")
    maps = []
    for comparison in study.comparisons:
        both = [_mean_confusion(each) for each in (comparison.generous, comparison.standard)]
        if all(found is not None for found in both) and both[0].shape == both[1].shape:
            maps.append((comparison.name, reports_of(comparison.generous.runs)[0].classes, both[0] - both[1]))
    _draw_all(made, maps, "points", "Difference of confusions")
    if study.without_report():
        made.missing.append(study.without_report())
    elif not maps:
        made.missing.append("There is no pair of students of both teachers with reports.")
    return made


def _mean_confusion(configuration: Configuration | None) -> numpy.ndarray | None:
    reports = reports_of(configuration.runs) if configuration else []
    return numpy.mean([report.confusion for report in reports], axis=0) if reports else None


def _limit(maps: list[numpy.ndarray]) -> float:
    """Of the shared scale: few fields of many classes lie beyond it."""
    sizes = numpy.concatenate([numpy.abs(values[numpy.isfinite(values)]) for values in maps])
    largest = float(sizes.max()) if sizes.size else 0.0
    return (float(numpy.quantile(sizes, 0.999)) if sizes.size > 1000 else largest) or 1.0


def _draw_all(made: Section, maps: list[tuple[str, list[str], numpy.ndarray]], unit: str, alt: str) -> None:
    """maps: titles, classes, values."""
    if not maps:
        return
    most = LARGE_PANELS if len(maps[0][1]) > SMALL else PANELS
    limit = _limit([values for _, _, values in maps[:most]])
    made.figures.append([draw(title, values, classes, limit, unit, f"{alt}, {title}")
                         for title, classes, values in maps[:most]])
    titles = [title for title, _, _ in maps[most:]]
    if titles:
        rest = listing(titles[:8] + (["others"] if len(titles) > 8 else []))
        made.notes.append(f"{count(len(titles), 'further map')} left out: {rest}.")


def draw(title: str, values: numpy.ndarray, classes: list[str], limit: float, unit: str, alt: str) -> Figure:
    """values: {classes, classes}, nan where there is none; limit: where the scale's colours end."""
    k = len(classes)
    width = 560 if k > SMALL else theme.PANEL
    with theme.panel(round(width * 0.86), width) as (canvas, axes):
        image = axes.imshow(values, cmap=theme.DIFFERENCES, norm=TwoSlopeNorm(0, -limit, limit),
                            interpolation="nearest")
        step = 1 if k <= NAMED else 5 if k <= SMALL else 10
        ticks = range(0, k, step)
        names = [name if len(name) <= 12 else f"{name[:11]}…" for name in classes]
        if k > NAMED:
            names = [str(i) for i in range(k)]
        small = {"fontsize": 7.5 if k <= 12 else 6.5}
        axes.set_xticks(ticks, [names[i] for i in ticks], rotation=90 if k <= NAMED else 0, **small)
        axes.set_yticks(ticks, [names[i] for i in ticks], **small)
        axes.tick_params(length=0)
        if k <= NUMBERED:
            _write_numbers(axes, values, limit)
        canvas.colorbar(image, ax=axes, shrink=0.8, pad=0.02, label=unit).outline.set_visible(False)
        return theme.figure(canvas, f"{alt}: {_extremes(values, classes, unit)}", title, large=k > SMALL)


def _write_numbers(axes, values: numpy.ndarray, limit: float) -> None:
    """The sign tells orange from purple where print has no colours."""
    digits = 1 if limit >= 0.95 else 2
    for (row, column), value in numpy.ndenumerate(values):
        if numpy.isfinite(value):
            axes.text(column, row, minus(f"{value:.{digits}f}"), ha="center", va="center", fontsize=5.6,
                      color="white" if abs(value) > 0.6 * limit else "#222222", in_layout=False)


def _extremes(values: numpy.ndarray, classes: list[str], unit: str) -> str:
    def at(index: int) -> str:
        row, column = numpy.unravel_index(index, values.shape)
        value = minus(f"{values[row, column]:+.2f}")
        return f"{value} {unit} for images of {classes[row]} at output {classes[column]}"
    return f"from {at(int(numpy.nanargmin(values)))} to {at(int(numpy.nanargmax(values)))}"
