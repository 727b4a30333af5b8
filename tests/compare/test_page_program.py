"""report.py as a user calls it: what it writes, and how it says what is wrong."""
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "apps/compare"), str(ROOT / "tests/compare")]

import page_runs  # noqa: E402


def report(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-B", str(ROOT / "apps/compare/report.py"), *map(str, arguments)],
                          capture_output=True, text=True, check=False)


class Program(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        cls.runs = cls.folder / "runs"
        page_runs.make(cls.runs, page_runs.Made(methods=("kd",), seeds=(1,), features=0))

    def fails(self, words: str, *arguments, code: int = 1) -> None:
        done = report(*arguments)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertIn(words, done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        if code == 1:
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)

    def test_the_page_is_in_the_first_folder(self):
        done = report(self.runs)
        page = self.runs / "page.html"
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, f"page: {page}\n", ""))
        self.assertTrue(page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>"))
        self.assertEqual([path.name for path in self.runs.iterdir() if path.is_file()], ["page.html"])

    def test_mistakes_are_one_line(self):
        nothing = self.folder / "nothing"
        nothing.mkdir()
        self.fails("RUNS", code=2)
        self.fails(f"{self.folder / 'absent'}: there is no such folder", self.folder / "absent")
        self.fails(f"{nothing}: no run with a finished epoch", nothing)
        self.fails("absent: there is no such folder to write", self.runs, "--output",
                   self.folder / "absent/page.html")
        self.fails("nothing: it is a folder", self.runs, "--output", nothing)

    def test_a_damaged_report_is_named_and_an_earlier_page_is_kept(self):
        page = self.folder / "page.html"
        page.write_text("earlier", encoding="utf-8")
        path = self.runs / "kd_of_generous_1/report/report.json"
        whole = path.read_text(encoding="utf-8")
        self.addCleanup(path.write_text, whole, encoding="utf-8")
        path.write_text(whole[:100], encoding="utf-8")
        self.fails(f"{path}: ", self.runs, "--output", page)
        path.write_text(json.dumps({"model": "resnet8"}), encoding="utf-8")
        self.fails(f"{path}: expected a JSON object with a list 'classes'", self.runs, "--output", page)
        self.assertEqual(page.read_text(encoding="utf-8"), "earlier")


if __name__ == "__main__":
    unittest.main()
