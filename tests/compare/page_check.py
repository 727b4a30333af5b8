#!/usr/bin/env python3
"""Looks at a study's page as a person would: in a browser at 400 and 1,400 pixels, and printed.

    python3 tests/compare/page_check.py [RUNS_FOLDER] [--pictures FOLDER]

Without a folder it makes one, of invented runs. Fails on what the console complains of, a request to the
network, an image that is empty or has no size, text or tables that stick out to the side, and missing
sections. --pictures keeps the pictures of both widths and the PDF."""
import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import page_runs
from browser import Browser, BrowserError

ROOT = Path(__file__).resolve().parents[2]
WIDTHS = (400, 1400)
SECTIONS = ("accuracy", "benefit", "accuracy-curves", "loss-curves", "logit-deviation", "non-target-entropy",
            "agreement", "class-logits", "calibration", "confusions", "worst-classes", "features", "speed",
            "cost", "settings", "versions", "commands")

# What is wrong with the page, as a list of sentences.
INSPECTION = """(() => {
  const wrong = [], root = document.documentElement;
  if (root.scrollWidth > innerWidth) {
    const wide = [...document.body.querySelectorAll('*')].filter(each =>
        each.getBoundingClientRect().right > innerWidth + 0.5 && !each.closest('.scroll'));
    const found = wide.slice(0, 3).map(each => each.outerHTML.slice(0, 90));
    wrong.push(`the page is ${root.scrollWidth} pixels wide: ${found}`);
  }
  const canvas = document.createElement('canvas'), context = canvas.getContext('2d', {willReadFrequently: true});
  for (const image of document.images) {
    const name = image.alt.slice(0, 60), box = image.getBoundingClientRect();
    if (!image.alt) wrong.push('an image has no alternative text');
    if (!image.naturalWidth || !image.naturalHeight || box.width < 8 || box.height < 8) {
      wrong.push(`an image has no size: ${name}`);
      continue;
    }
    if (image.className === 'thumbnail') continue;   // a picture of the dataset may be of one colour
    canvas.width = image.width;
    canvas.height = image.height;
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    // Ink inside the frame, where the data is: axes and their letters are outside, grid lines are nearly white.
    const x = Math.floor(canvas.width * 0.14), y = Math.floor(canvas.height * 0.1);
    const pixels = context.getImageData(x, y, Math.floor(canvas.width * 0.83), Math.floor(canvas.height * 0.6)).data;
    let ink = 0;
    for (let i = 0; i < pixels.length; i += 4)
      if (pixels[i + 3] > 128 && Math.min(pixels[i], pixels[i + 1], pixels[i + 2]) < 190) ++ink;
    if (ink < 15) wrong.push(`an image is empty: ${name}`);
  }
  for (const section of document.querySelectorAll('section[id]'))
    if (!section.querySelector('img, table, pre, .missing')) wrong.push(`the section ${section.id} has nothing in it`);
  for (const link of document.querySelectorAll('a[href^="#"]'))
    if (!document.getElementById(link.hash.slice(1))) wrong.push(`a link leads nowhere: ${link.hash}`);
  return wrong;
})()"""


def make_page(runs: Path, page: Path) -> Path:
    program = [sys.executable, "-B", "-W", "error", str(ROOT / "apps/compare/report.py")]
    subprocess.run([*program, str(runs), "--output", str(page)], check=True, stdout=subprocess.DEVNULL)
    return page


def inspect(pages: list[Path], pictures: Path | None = None) -> list[str]:
    """What is wrong with the pages, in one browser."""
    wrong = []
    with Browser() as browser:
        for page in pages:
            wrong += [f"{page.stem}: {sentence}" for sentence in inspect_page(browser, page, pictures)]
        wrong += [f"the console says: {complaint}" for complaint in browser.complaints]
    return wrong


def inspect_page(browser: Browser, page: Path, pictures: Path | None) -> list[str]:
    wrong = []
    for width in WIDTHS:
        browser.open(page, width)
        wrong += [f"at {width} pixels: {sentence}" for sentence in browser.evaluate(INSPECTION)]
        if pictures:
            (pictures / f"{page.stem}-{width}.png").write_bytes(browser.picture())
    found = browser.evaluate("[...document.querySelectorAll('section[id]')].map(each => each.id)")
    wrong += [f"the section {name} is missing" for name in SECTIONS if name not in found]
    if not browser.evaluate("document.querySelector('.answer').innerText.length > 20"):
        wrong.append("there is no answer")
    pdf = browser.pdf()
    if pictures:
        (pictures / f"{page.stem}.pdf").write_bytes(pdf)
    printed = len(re.findall(rb"/Type\s*/Page\b", pdf))
    return wrong if pdf.startswith(b"%PDF-") and printed > 1 else [*wrong, f"printed it has {printed} pages"]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("runs", nargs="?", type=Path)
    parser.add_argument("--pictures", type=Path)
    given = parser.parse_args(arguments)
    if given.pictures:
        given.pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="generous-page-") as folder:
        studies = [given.runs]
        if not given.runs:
            studies = [Path(folder) / "whole", Path(folder) / "bare"]
            page_runs.make(studies[0], page_runs.Made(seeds=(1, 2)))
            page_runs.make(studies[1], page_runs.Made(seeds=(1,), methods=("kd",), reports=False))
        pages = [make_page(runs, Path(folder) / f"page{i}.html") for i, runs in enumerate(studies)]
        try:
            wrong = inspect(pages, given.pictures)
        except BrowserError as error:
            wrong = [str(error)]
    for sentence in wrong:
        print(f"page_check: {sentence}", file=sys.stderr)
    print(f"page_check: {'failed' if wrong else 'passed'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
