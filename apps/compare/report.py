"""Writes the page that answers a study's question: does a generous teacher teach better than a standard one?

    python3 apps/compare/report.py RUNS... [--output FILE.html]

RUNS are folders of runs, a grid's or any others; everything below them is read. The page is one file without
references to others: RUNS/page.html of the first folder, unless --output names another."""
import argparse
import os
import sys
import tempfile
from pathlib import Path

from advice import missing_package

try:
    import jinja2

    from page import accuracy, calibration, cost, curves, features, logits, maps, provenance, theme, worst
    from page.answer import answer
    from page.section import Section, count, listing
    from page.study import Study, run_name
    from runs import RunError, find_runs, reason
except ModuleNotFoundError as missing:
    sys.exit(missing_package("report", missing, "matplotlib", "jinja2", "pandas", "scipy", "sklearn"))

TITLE = "Does a generous teacher teach better than a standard one?"


def sections(study: Study, roots: list[Path], arguments: list[str]) -> list[Section]:
    """In the page's order."""
    return [accuracy.section(study), accuracy.benefit(study), curves.accuracy(study), curves.loss(study),
            logits.spread(study), logits.entropy(study), logits.agreement(study), maps.differences(study),
            calibration.section(study), maps.confusions(study), worst.section(study), features.section(study),
            curves.speed(study), cost.section(study), provenance.differences(study),
            provenance.versions(study), provenance.commands(study, roots, arguments)]


def facts(study: Study) -> str:
    """What the page is about, in a line."""
    datasets = sorted({str(run.params.get("dataset", "?")) for run in study.runs})
    seeds = {run.seed for run in study.runs}
    words = (f"{listing(datasets)}; {count(len(study.runs), 'run')} of "
             f"{count(len(study.configurations), 'configuration')}, {count(len(seeds), 'seed')}.")
    if study.unfinished:
        rest = "; and others" if len(study.unfinished) > 4 else ""
        words += (f" Left out, because not at their end: {count(len(study.unfinished), 'run')} "
                  f"({'; '.join(map(run_name, study.unfinished[:4]))}{rest}).")
    if not any(run.complete for run in study.runs):
        words += " No run is at its end yet."
    return words


def render(study: Study, roots: list[Path], arguments: list[str]) -> str:
    """The page. The same runs give the same bytes."""
    folder = Path(__file__).parent / "page"
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(folder), autoescape=True,
                                     trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters["legend_mark"] = theme.legend_mark
    return environment.get_template("page.html.j2").render(
        title=TITLE, css=(folder / "page.css").read_text(encoding="utf-8"), answer=answer(study),
        facts=facts(study), sections=sections(study, roots, arguments))


def write(path: Path, content: str) -> None:
    """All of it or nothing."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="report.py", description=__doc__.split("\n", 1)[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUNS",
                        help="a folder with runs somewhere below it")
    parser.add_argument("--output", type=Path, metavar="FILE.html",
                        help="default: page.html in the first folder")
    given = parser.parse_args(arguments)
    output = given.output or given.runs[0] / "page.html"
    try:
        if output.is_dir() or not output.parent.is_dir():
            raise RunError(f"{output}: it is a folder; give the name of a file" if output.is_dir() else
                           f"{output.parent}: there is no such folder to write the page into")
        study = Study.of(find_runs(given.runs))
        if not study.runs:
            raise RunError(f"{given.runs[0]}: no run with a finished epoch below it; a run is a folder with "
                           f"params.json and metrics.csv")
        write(output, render(study, given.runs, arguments))
    except RunError as error:
        print(f"report: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"report: {error.filename or output}: {reason(error)}", file=sys.stderr)
        return 1
    print(f"page: {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
