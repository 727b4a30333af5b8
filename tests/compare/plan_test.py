"""The runs of a grid: their order, their flags, and folders whose names change with what decides a run alone."""
import tempfile
import unittest
from pathlib import Path

import shared
from grid import read_grid
from places import GridError
from plan import Planner

GRID = """\
dataset: cifar10
settings: {num_epochs: 3}
teachers:
  - {name: standard, model: resnet14}
  - {name: generous, model: resnet14, of: standard, settings: {Tn: 1}}
students:
  - model: resnet8
methods:
  - {name: kd, settings: {temperature: 4}}
seeds: [0, 1]
"""


class PlanTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "g.yaml"

    def runs(self, *changes, programs=None):
        """By the beginning of the folder's name, without the hash: the planned runs of seed 0."""
        text = GRID
        for old, new in changes:
            self.assertEqual(text.count(old), 1, old)
            text = text.replace(old, new)
        self.path.write_text(text, encoding="utf-8")
        planned = Planner(read_grid(self.path), programs or shared.AnyPrograms(), Path("/checkout")).runs()
        self.assertEqual(len({run.folder for run in planned}), len(planned))
        self.all = planned
        return {run.folder.rpartition("-")[0]: run for run in planned if run.seed == 0}

    def test_order_and_teachers(self):
        runs = self.runs()
        self.assertEqual(list(runs), ["standard/resnet14", "generous/resnet14-of-resnet14",
                                      "students/resnet8-kd-of-resnet14", "students/resnet8-kd-of-generous-resnet14",
                                      "alone/resnet8-alone"])
        self.assertEqual([run.program for run in runs.values()],
                         ["train_standard", "train_generous", "train_kd", "train_kd", "train_standard"])
        folder = {name: run.folder for name, run in runs.items()}
        self.assertEqual([run.teacher for run in runs.values()],
                         [None, folder["standard/resnet14"], folder["standard/resnet14"],
                          folder["generous/resnet14-of-resnet14"], None])
        self.assertEqual(len(self.all), 10)
        self.assertEqual(self.all[1].folder, folder["standard/resnet14"].replace("seed0", "seed1"))
        self.assertEqual(self.all[3].teacher, self.all[1].folder)  # of the same seed

    def test_flags(self):
        runs = self.runs(("num_epochs: 3", "num_epochs: 3, schedule: [1, 2]"))
        student = runs["students/resnet8-kd-of-generous-resnet14"]
        self.assertEqual(student.train,
                         ["--dataset=cifar10", "--data_dir=/checkout/datasets/cifar10", "--model_name=resnet8",
                          "--num_epochs=3", "--schedule=1,2", "--temperature=4", "--method=kd", "--threads=1",
                          "--teacher_model=resnet14", "--seed=0",
                          f"--teacher_resume={student.teacher}/last_model.safetensors"])
        self.assertEqual(student.evaluate,
                         ["--dataset=cifar10", "--data_dir=/checkout/datasets/cifar10", "--model_name=resnet8",
                          "--threads=1", "--teacher_model=resnet14",
                          f"--teacher_resume={student.teacher}/last_model.safetensors"])
        generous = runs["generous/resnet14-of-resnet14"]
        self.assertIn(f"--adversarial_resume={generous.teacher}/last_model.safetensors", generous.train)
        self.assertIn("--adversarial_model=resnet14", generous.train)
        self.assertNotIn("--teacher_model=resnet14", generous.evaluate)
        self.assertEqual(student.epochs, 3)
        self.assertEqual(self.runs(("{num_epochs: 3}", "{}"))["standard/resnet14"].epochs, 160)

    def changed(self, *changes, programs=None):
        """The beginnings of the names of the runs that another grid has in other folders."""
        before = {run.folder for run in self.runs(programs=programs).values()}
        after = self.runs(*changes, programs=programs)
        return {name for name, run in after.items() if run.folder not in before}

    def test_only_what_a_change_touches_moves(self):
        students = {"students/resnet8-kd-of-resnet14", "students/resnet8-kd-of-generous-resnet14"}
        generous = {"generous/resnet14-of-resnet14", "students/resnet8-kd-of-generous-resnet14"}
        everything = set(self.runs())
        self.assertEqual(self.changed(("Tn: 1", "Tn: 2")), generous)
        self.assertEqual(self.changed(("temperature: 4", "temperature: 8")), students)
        self.assertEqual(self.changed(("num_epochs: 3", "num_epochs: 4")), everything)
        self.assertEqual(self.changed(("- {name: standard, model: resnet14}",
                                       "- {name: standard, model: resnet14, settings: {gamma: 0.5}}")),
                         everything - {"alone/resnet8-alone"})
        self.assertEqual(self.changed(("- model: resnet8", "- {model: resnet8, settings: {gamma: 0.5}}")),
                         students | {"alone/resnet8-alone"})
        self.assertEqual(self.changed(("seeds:", "threads: 2\nseeds:")), everything)
        self.assertEqual(self.changed(("seeds:", "weights: best\nseeds:")), students | generous)
        self.assertEqual(self.changed(("dataset: cifar10", "dataset: cifar100")), everything)

    def test_what_decides_no_run_moves_nothing(self):
        self.assertEqual(self.changed(("[0, 1]", "[0, 1, 2]")), set())
        self.assertEqual(self.changed(("seeds:", "name: other\nreport: {features: 3}\nseeds:")), set())
        self.assertEqual(self.changed(("dataset: cifar10", "dataset: cifar10\ndata_dir: /elsewhere")), set())
        self.assertEqual(self.changed(("name: standard", "name: plain"), ("of: standard", "of: plain")), set())
        self.assertEqual(self.changed(("{name: kd, settings: {temperature: 4}}",
                                       "{name: hinton, method: kd, settings: {temperature: 4}}\n  - name: dkd")),
                         {"students/resnet8-dkd-of-resnet14", "students/resnet8-dkd-of-generous-resnet14"})
        moved = self.changed(("{num_epochs: 3}", "{num_epochs: 3, gamma: 0.5}"), ("{Tn: 1}", "{gamma: 0.1, Tn: 1}"))
        self.assertIn("generous/resnet14-of-resnet14", moved)
        one = self.runs(("{num_epochs: 3}", "{num_epochs: 3, gamma: 0.5}"))["standard/resnet14"].folder
        other = self.runs(("{num_epochs: 3}", "{gamma: 0.5, num_epochs: 3}"))["standard/resnet14"].folder
        self.assertEqual(one, other)

    def test_class_folders_are_what_lies_there(self):
        before = self.runs(("dataset: cifar10", "dataset: class_folders\ndata_dir: /a"))
        after = self.runs(("dataset: cifar10", "dataset: class_folders\ndata_dir: /b"))
        self.assertFalse({run.folder for run in before.values()} & {run.folder for run in after.values()})
        with self.assertRaisesRegex(GridError, "data_dir is missing"):
            self.runs(("dataset: cifar10", "dataset: class_folders"))

    def test_a_student_that_is_a_teacher_is_trained_once(self):
        runs = self.runs(("- model: resnet8", "- model: resnet14"))
        self.assertEqual([name for name in runs if name.startswith(("standard", "alone"))], ["standard/resnet14"])
        self.assertFalse(any(name.startswith("alone") for name in self.runs(("seeds:", "alone: false\nseeds:"))))

    def test_readers_of_a_network_are_told_its_settings(self):
        programs = shared.AnyPrograms({"shufflenetv2": {"ratio"}})
        change = ("{name: standard, model: resnet14}", "{name: standard, model: shufflenetv2, settings: {ratio: 0.5}}")
        runs = self.runs(change, programs=programs)
        self.assertIn("--ratio=0.5", runs["students/resnet8-kd-of-shufflenetv2"].train)
        self.assertIn("--ratio=0.5", runs["generous/resnet14-of-shufflenetv2"].train)
        self.assertNotIn("--ratio=0.5", runs["students/resnet8-kd-of-generous-resnet14"].train)
        with self.assertRaisesRegex(GridError, r"g.yaml:7: students\[0\].settings.ratio: is 2 here and 0.5 of the te"):
            self.runs(change, ("- model: resnet8", "- {model: shufflenetv2, settings: {ratio: 2}}"), programs=programs)

    def test_what_a_program_refuses_has_its_place(self):
        said = "unknown flag --temprature; did you mean --temperature?"
        programs = shared.AnyPrograms(complaints={"--temprature": said})
        with self.assertRaises(GridError) as caught:
            self.runs(("temperature: 4", "temprature: 4"), programs=programs)
        self.assertEqual(str(caught.exception), f"{self.path}:9: methods[0].settings.temprature: train_kd: {said}")


if __name__ == "__main__":
    unittest.main()
