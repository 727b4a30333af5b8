"""The strict reading of a grid's file: what is right is read as written, what is wrong is one line with its place."""
import tempfile
import unittest
from pathlib import Path

import shared
from grid import read_grid
from places import GridError

RIGHT = """\
dataset: cifar10
settings: {num_epochs: 3, learning_rate: 1e-4, schedule: [1, 2], nesterov: true}
teachers:
  - name: standard
    model: resnet14
    settings: &recipe {weight_decay: 0.0005, gamma: 0.1}
  - name: generous
    model: resnet14
    of: standard
    settings: {<<: *recipe, Tn: 2, gamma: 0.2}
students:
  - model: resnet8
methods:
  - name: kd
  - {name: kd-warm, method: kd, settings: {temperature: 8}, teachers: [generous]}
  - {method: "kd,crd"}
seeds: [0, 7]
"""


class GridTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = Path(self.folder.name) / "my.yaml"

    def read(self, text):
        self.path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_grid(self.path)

    def refused(self, text, line, *words):
        """That the file is refused in one line with this line number and these words."""
        with self.assertRaises(GridError) as caught:
            self.read(text)
        message = str(caught.exception)
        self.assertNotIn("\n", message)
        place = f"{self.path}:{line}:" if line else f"{self.path}:"
        self.assertTrue(message.startswith(place), message)
        for word in words:
            self.assertIn(word, message)

    def replaced(self, old, new, line, *words):
        self.assertEqual(RIGHT.count(old), 1, old)
        self.refused(RIGHT.replace(old, new), line, *words)

    def test_values_are_the_texts_of_the_file(self):
        grid = self.read(RIGHT)
        self.assertEqual({key: item.setting() for key, item in grid.settings.items()},
                         {"num_epochs": "3", "learning_rate": "1e-4", "schedule": "1,2", "nesterov": "1"})
        self.assertEqual((grid.name, grid.seeds, grid.threads, grid.weights, grid.alone, grid.data_dir),
                         ("my", [0, 7], 1, "last", True, None))
        standard, generous = grid.teachers
        self.assertEqual((standard.name, standard.of, generous.name, generous.of),
                         ("standard", None, "generous", "standard"))
        self.assertEqual({key: item.setting() for key, item in generous.settings.items()},
                         {"weight_decay": "0.0005", "gamma": "0.2", "Tn": "2"})
        self.assertEqual([(method.name, method.method.setting(), method.teachers) for method in grid.methods],
                         [("kd", "kd", ["standard", "generous"]), ("kd-warm", "kd", ["generous"]),
                          ("kd+crd", "kd,crd", ["standard", "generous"])])

    def test_shipped_grids_are_right(self):
        for path in sorted((shared.ROOT / "apps" / "compare" / "grids").glob("*.yaml")):
            self.assertEqual(read_grid(path).name, path.stem)

    def test_unknown_keys_name_the_nearest(self):
        self.replaced("seeds: [0, 7]", "sedes: [0, 7]", 17, "sedes", "did you mean seeds?")
        self.replaced("    of: standard", "    off: standard", 9, "teachers[1].off", "did you mean of?")
        self.replaced("method: kd,", "metod: kd,", 15, "did you mean method?")

    def test_keys_given_twice(self):
        self.refused(RIGHT + "seeds: [1]\n", 18, "seeds", "given twice")
        self.replaced("{num_epochs: 3,", "{num_epochs: 3, num_epochs: 4,", 2, "num_epochs", "given twice")

    def test_missing_keys(self):
        self.replaced("seeds: [0, 7]\n", "", 1, "the key seeds is missing")
        self.replaced("  - model: resnet8", "  - settings: {gamma: 1}", 12, "students[0]", "the key model is missing")
        self.replaced("  - name: kd\n", "  - settings: {alpha: 1}\n", 14, "methods[0]", "the key name is missing")

    def test_wrong_types(self):
        self.replaced("seeds: [0, 7]", "seeds: 3", 17, "expected a list")
        self.replaced("seeds: [0, 7]", "seeds: []", 17, "at least one")
        self.replaced("{num_epochs: 3,", "{num_epochs: {a: 3},", 2, "settings.num_epochs", "keys with values")
        self.replaced("{num_epochs: 3,", "{num_epochs: ,", 2, "settings.num_epochs", "nothing")
        self.replaced("    model: resnet14\n    of", "    model: resnet14\n    name: [a]\n    of", 9, "given twice")
        self.replaced("name: generous", "name: [generous]", 7, "teachers[1].name", "a list")
        self.refused("- a\n", 1, "expected keys with values, found a list")
        self.refused(RIGHT + "alone: yes\n", 18, "alone", "true or false")
        self.refused(RIGHT + "report: {feature: 3}\n", 18, "did you mean features?")

    def test_what_yaml_would_guess(self):
        self.replaced("seeds: [0, 7]", "seeds: [0, 010]", 17, "seeds[1]", "decimal", "010")
        self.replaced("seeds: [0, 7]", "seeds: [0, 1_0]", 17, "1_0")
        self.replaced("seeds: [0, 7]", "seeds: [0, -1]", 17, "-1")
        self.replaced("seeds: [0, 7]", "seeds: [0, 0x1]", 17, "0x1")
        self.replaced("nesterov: true", "nesterov: no", 2, "settings.nesterov", "'no'")
        self.replaced("nesterov: true", "nesterov: On", 2, "settings.nesterov", "'On'")
        self.refused(RIGHT + "threads: 2.0\n", 18, "threads", "2.0")

    def test_names(self):
        self.replaced("name: generous", "name: standard", 7, "teachers[1]", "standard is given twice")
        self.replaced("of: standard", "of: standart", 9, "teachers[1].of", "did you mean standard?")
        self.replaced("teachers: [generous]", "teachers: [generus]", 15, "did you mean generous?")
        self.replaced("teachers: [generous]", "teachers: [generous, generous]", 15, "each once")
        self.replaced("seeds: [0, 7]", "seeds: [7, 7]", 17, "given twice")
        self.refused(RIGHT + "name: a/b\n", 18, "a/b")
        self.refused(RIGHT + "weights: lost\n", 18, "did you mean last?")

    def test_settings_that_the_grid_gives(self):
        for flag, hint in (("seed", "seeds"), ("model_name", "model"), ("threads", "beside settings"),
                           ("save_path", "folders"), ("teacher_resume", "teachers")):
            self.replaced("{num_epochs: 3,", f"{{{flag}: 3,", 2, f"settings.{flag}", hint)

    def test_no_yaml(self):
        self.refused("a: [1\nb: 2\n", 2, "expected")
        self.refused("a: b: c\n", 1, "mapping values are not allowed")
        self.refused("a:\n\t- 1\n", 2)
        self.refused("", None, "empty")
        self.refused(b"name: \xff\xfe\n", None)
        self.refused("--- {a: 1}\n--- {b: 1}\n", 2, "document")
        self.replaced("settings: &recipe {", "settings: &recipe {<<: *recipe, ", 6, "<<")
        with self.assertRaisesRegex(GridError, "none.yaml: No such file"):
            read_grid(self.path.with_name("none.yaml"))


if __name__ == "__main__":
    unittest.main()
