"""Maps of the pooled features by t-SNE."""
import numpy
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from page import theme
from page.accuracy import by_role
from page.reports import Report
from page.section import Figure, Section, count
from page.study import Study
from runs import Run

PANELS = 6
IMAGES = 1000
CLASSES = 10      # with a colour and a mark of their own
PERPLEXITY = 30
MARKS = "os^Dv<>pXP"
COLOURS = ("#00558c", "#e06c00", "#1b7f5c", "#a6478f", "#3d3d3d", "#63b3e4", "#c9a400", "#8c2d04", "#7a7a7a",
           "#5e3c99")


def section(study: Study) -> Section:
    made = Section("features", "Do the features of a class lie together?")
    runs = chosen(study)
    if not runs:
        made.missing.append("No report has features (evaluate --report ... --report_features N).")
        return made
    images = min(IMAGES, max(len(Report(run.report).features) for _, run in runs))
    made.reading = (
        f"Pooled features of up to {images} test images, laid out by t-SNE (scikit-learn, perplexity "
        f"{perplexity(images)}, seed 0), one run each. A point is an image, its colour and mark are its "
        f"class; names stand at the middles of the classes. Neighbours mean something, distances between "
        "groups and their sizes do not, and the axes have no unit.")
    made.figures.append([_figure(f"{role}, seed {run.seed}", run) for role, run in runs[:PANELS]])
    left_out = f"; {count(len(runs) - PANELS, 'map')} left out" if len(runs) > PANELS else ""
    made.notes.append("Shown are the teachers and students of the first comparison that has features, with "
                      f"its smallest seed{left_out}.")
    return made


def chosen(study: Study) -> list[tuple[str, Run]]:
    """The runs of the first comparison, with their teachers, of one seed where all have one in common;
    without a comparison, the first of each configuration."""
    for comparison in study.comparisons:
        parts = by_role(comparison)
        seeds = [{run.seed for run in each.runs if has_features(run)} for _, each in parts]
        seed = min(set.intersection(*seeds), default=None)
        runs = [(role, next((run for run in each.runs if run.seed == seed), each.runs[0]))
                for role, each in parts]
        teachers = [(f"{run.teacher.stage} teacher", run.teacher) for _, run in runs if run.teacher]
        found = [(role, run) for role, run in teachers + runs if has_features(run)]
        if found:
            return found
    return [(each.name, each.runs[0]) for each in study.configurations if has_features(each.runs[0])]


def has_features(run: Run) -> bool:
    return run.report is not None and Report(run.report).features is not None


def perplexity(images: int) -> int:
    """The usual 30, fewer where there are few images: t-SNE needs more than three times as many."""
    return max(1, min(PERPLEXITY, (images - 1) // 3))


def layout(values: numpy.ndarray) -> numpy.ndarray:
    """{images, C} to {images, 2}. In one thread: the threads' waiting costs more than they give where
    other programs run, and the sums have one order."""
    with threadpool_limits(1):
        return TSNE(perplexity=perplexity(len(values)), init="pca", learning_rate="auto",
                    random_state=0).fit_transform(values)


def _figure(title: str, run: Run) -> Figure:
    report = Report(run.report)
    table = report.features.iloc[::max(1, -(-len(report.features) // IMAGES))]
    labels = table["label"].to_numpy()
    points = layout(table.drop(columns=["image", "label"]).to_numpy(dtype=float))
    present = sorted(set(labels))
    named = present[:CLASSES]
    with theme.panel(theme.PANEL) as (canvas, axes):
        rest = ~numpy.isin(labels, named)
        axes.plot(*points[rest].T, ".", color="#d0d0d0", markersize=3)
        for i, label in enumerate(named):
            mine = points[labels == label]
            axes.plot(*mine.T, MARKS[i], color=COLOURS[i], markersize=3, alpha=0.8, markeredgewidth=0)
        for i, label in enumerate(named):
            middle = numpy.median(points[labels == label], axis=0)
            axes.text(*middle, report.classes[int(label)][:16], fontsize=7.5, ha="center",
                      va="center", color=COLOURS[i], fontweight="bold",
                      bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.8},
                      in_layout=False)
        axes.margins(0.08)
        axes.set_axis_off()
        others = f"; {count(len(present) - CLASSES, 'further class', 'further classes')} grey" \
            if len(present) > CLASSES else ""
        return theme.figure(
            canvas, f"t-SNE map of the pooled features of {len(labels)} images, {title}{others}", title)
