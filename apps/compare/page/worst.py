"""The classes on which the students are worst, with the images of the largest loss."""
import numpy

from page.accuracy import by_role
from page.reports import Report, reports_of
from page.section import Cell, Section, Table, Thumbnail, number, text
from page.study import Comparison, Configuration, Study
from page.theme import data_uri

CLASSES = 8
THUMBNAILS = 8
COMPARISONS = 6


def section(study: Study) -> Section:
    made = Section(
        "worst-classes", "Which classes are the hardest, and what do the worst images look like?",
        "Top-1 by class in percent, as the mean over seeds; the classes are those of the lowest accuracy "
        "over the students of both teachers, and the gain is that of the generous teacher's student over the "
        "standard one's. Images are those on which one run of the generous teacher's student (else the "
        "standard one's) has the largest loss, with what it takes them for in the alternative text.")
    possible = [each for each in study.comparisons if any(student.reported for student in _students(each))]
    for comparison in possible[:COMPARISONS]:
        made.tables.append(_table(comparison))
    if len(possible) > COMPARISONS:
        made.notes.append(f"{len(possible) - COMPARISONS} further comparisons left out: the first "
                          f"{COMPARISONS} by name are shown.")
    if study.without_report():
        made.missing.append(study.without_report())
    elif not possible:
        made.missing.append("There are no students of a teacher.")
    return made


def _students(comparison: Comparison) -> list[Configuration]:
    return [each for each in (comparison.generous, comparison.standard) if each]


def _top1(configuration: Configuration) -> numpy.ndarray:
    """{classes}, in percent, nan for a class without images."""
    return numpy.mean([report.by_class["top1"].to_numpy(dtype=float)
                       for report in reports_of(configuration.runs)], axis=0)


def _table(comparison: Comparison) -> Table:
    columns = {role: _top1(each) for role, each in by_role(comparison) if each.reported}
    students = [values for role, values in columns.items() if role != "alone"]
    report = reports_of([run for each in _students(comparison) for run in each.runs])[0]
    mean = numpy.mean(students, axis=0)
    worst = [int(i) for i in numpy.argsort(mean, kind="stable") if numpy.isfinite(mean[i])][:CLASSES]
    both = len(students) == 2
    rows = []
    for label in worst:
        row = [text(report.classes[label], heading=True), *(number(values[label], "{:.1f}") for values in
                                                            columns.values())]
        if both:
            gain = columns["student of generous"][label] - columns["student of standard"][label]
            row.append(number(gain, "{:+.1f}"))
        rows.append([*row, text(_taken_for(report, label), mark="line"), _pictures(report, label)])
    names = {"alone": "alone", "student of standard": "of standard", "student of generous": "of generous"}
    heads = ["class", *(names[role] for role in columns), *(["gain"] if both else []), "taken for",
             "worst images"]
    left_out = f", the worst {len(worst)} of {len(mean)} classes" if len(worst) < len(mean) else ""
    return Table(f"{comparison.name}{left_out}", heads, rows)


def _taken_for(report: Report, label: int) -> str:
    """The most frequent wrong answer."""
    row = report.confusion[label].copy()
    row[label] = -1
    other = int(row.argmax())
    return f"{report.classes[other]} ({row[other]:.1f} %)" if row[other] > 0 else "no other"


def _pictures(report: Report, label: int) -> Cell:
    thumbnails = []
    if (report.folder / "worst.csv").is_file():
        rows = report.worst[report.worst["label"] == label].head(THUMBNAILS)
        for image, predicted, confidence in zip(rows["image"], rows["predicted"], rows["confidence"]):
            content = report.picture(int(image))
            if content:
                taken = report.classes[int(predicted)]
                words = f"image {int(image)}, taken for {taken} with {100 * confidence:.0f} %"
                thumbnails.append(Thumbnail(data_uri("png", content), words))
    return Cell("" if thumbnails else "none among the worst", mark="line", thumbnails=tuple(thumbnails))
