"""The page's check finds what it is there for."""
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from browser import Browser  # noqa: E402
from page_check import SECTIONS, inspect_page  # noqa: E402

PLOT = "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' width='300' height='200'>%s</svg>"
INK = PLOT % "<path d='M0 0 L300 200 M0 200 L300 0' stroke='black' stroke-width='4'/>"
GRID = PLOT % "<path d='M60 0 V170 M150 0 V170' stroke='%23e2e2e2'/><path d='M30 190 H280' stroke='black'/>"


IMAGE = f'<img src="{INK}" alt="two lines" width="300" height="200">'


def page_of(first: str = IMAGE, missing: str = "") -> str:
    sections = "".join(f"<section id='{name}'><table><tr><td>1</td></tr></table></section>"
                       for name in SECTIONS if name != missing)
    return ("<!DOCTYPE html><html><body style='margin:0'><p class='answer'>An answer in a sentence.</p>"
            f"{first}{sections}<p style='break-before: page'>further</p></body></html>")


@unittest.skipUnless(shutil.which("chromium"), "chromium is not installed")
class Check(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.browser = Browser()
        cls.enterClassContext(cls.browser)

    def wrong(self, content: str) -> str:
        self.browser.complaints.clear()
        with tempfile.TemporaryDirectory() as folder:
            page = Path(folder) / "page.html"
            page.write_text(content, encoding="utf-8")
            return "\n".join([*inspect_page(self.browser, page, None), *self.browser.complaints])

    def test_a_page_in_order_passes(self):
        self.assertEqual(self.wrong(page_of()), "")

    def test_faults_are_found(self):
        for first, sentence in (
                (f'<img src="{GRID}" alt="bare axes" width="300" height="200">',
                 "an image is empty: bare axes"),
                (f'<img src="{INK}" width="300" height="200">', "an image has no alternative text"),
                ('<img src="data:image/png;base64,AAAA" alt="broken">', "an image has no size: broken"),
                ('<div style="width: 900px; height: 1px"></div>',
                 "at 400 pixels: the page is 900 pixels wide"),
                ('<section id="more"></section>', "the section more has nothing in it"),
                ('<a href="#nowhere">there</a>', "a link leads nowhere: #nowhere"),
                ('<script>console.error("a complaint")</script>', "a complaint"),
                ('<script>undefined_function()</script>', "Uncaught"),
                ('<link rel="stylesheet" href="http://127.0.0.1:9/style.css">',
                 "it asks the network for http://127")):
            with self.subTest(sentence):
                self.assertIn(sentence, self.wrong(page_of(first)))

    def test_a_missing_section_is_found(self):
        self.assertIn("the section calibration is missing", self.wrong(page_of(missing="calibration")))


if __name__ == "__main__":
    unittest.main()
