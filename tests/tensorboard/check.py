"""Event files as TensorBoard itself reads them, of whole runs and of one that was killed and resumed.

    python3 -B tests/tensorboard/check.py --build build --environment build/tensorboard-environment

tensorboard is installed from PyPI, once, into a virtual environment (tests/pypi.py).
"""

import argparse
import csv
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "faults")]
import pypi
from runs import Finding, Stage, make_images, require

EPOCHS = 5
TAGS = {"lr": "learning_rate", "images_per_s": "images_per_second", "seconds": "seconds", "train_loss": "train/loss",
        "train_top1_percent": "train/top1_percent", "test_loss": "test/loss", "test_top1_percent": "test/top1_percent",
        "test_top5_percent": "test/top5_percent", "cross_entropy": "train/loss/cross_entropy", "kd": "train/loss/kd"}
TIMES = ("images_per_second", "seconds")
HISTOGRAMS = ("logits/std_by_test_image", "weights/classifier", "weights/norm_by_layer")


def accumulator(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    everything = {"scalars": 0, "histograms": 0, "tensors": 0}
    return EventAccumulator(str(folder), size_guidance=everything)


def scalars_of(events):
    """Of each tag the numbers by step, in the order in which they are there."""
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def rows_of(folder):
    with open(folder / "metrics.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def classifier_of(folder):
    """The last matrix of the weights as they were saved last, all numbers in a row."""
    import numpy

    content = (folder / "last_model.safetensors").read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    matrices = [entry for name, entry in header.items() if name != "__metadata__" and len(entry["shape"]) == 2]
    begin, end = (8 + size + offset for offset in max(entry["data_offsets"] for entry in matrices))
    return numpy.frombuffer(content[begin:end], dtype="<f4")


def check_run(events, folder, epochs):
    """Everything that `events` has is of this run, each epoch once."""
    import numpy

    steps = list(range(1, epochs + 1))
    rows = rows_of(folder)
    require(len(rows) == epochs, f"{folder}: {len(rows)} rows")
    tags = events.Tags()
    columns = [column for column in rows[0] if column != "epoch"]
    require(set(tags["scalars"]) == {TAGS[column] for column in columns} | {"logits/std"}, f"{tags['scalars']}")
    found = scalars_of(events)
    for tag, values in found.items():
        require([step for step, _ in values] == steps, f"{folder}: {tag} has the steps {values}")
    for column in columns:
        for (_, value), row in zip(found[TAGS[column]], rows):
            require(abs(value - float(row[column])) <= 1e-5 * abs(value), f"{column}: {value} and {row[column]}")

    require(set(tags["histograms"]) == set(HISTOGRAMS), f"{tags['histograms']}")
    for tag in HISTOGRAMS:
        histograms = events.Histograms(tag)
        require([event.step for event in histograms] == steps, f"{folder}: the steps of {tag}")
        for event in histograms:
            require(sum(event.histogram_value.bucket) == event.histogram_value.num > 0, f"{tag}: {event}")
    for event, (_, mean) in zip(events.Histograms("logits/std_by_test_image"), found["logits/std"]):
        deviations = event.histogram_value
        require(deviations.num == 15 and abs(deviations.sum / 15 - mean) < 1e-5 * mean, f"logits/std: {deviations}")
    classifier = classifier_of(folder)
    last = events.Histograms("weights/classifier")[-1].histogram_value
    require((last.num, last.min, last.max) == (classifier.size, classifier.min(), classifier.max()), f"{last}")
    limits = numpy.array(last.bucket_limit)
    places = numpy.searchsorted(limits, classifier.astype(numpy.float64), side="left")
    require(list(numpy.bincount(places, minlength=limits.size)) == list(last.bucket), f"{last}")

    require(tags["tensors"] == ["settings"], f"{tags['tensors']}")
    texts = events.Tensors("settings")
    require([event.step for event in texts] == [1], f"{folder}: settings of {[event.step for event in texts]}")
    text = texts[0].tensor_proto.string_val[0].decode()
    code = "".join(f"    {line}\n" for line in (folder / "params.json").read_text(encoding="utf-8").splitlines())
    require(text == code, f"{text}\nis not\n{code}")
    require(events.SummaryMetadata("settings").plugin_data.plugin_name == "text", "settings are not shown as a text")


def check_loader(folder):
    """The other way in which TensorBoard reads: as tensors, for its pages."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    files = sorted(str(file) for file in folder.glob("events.out.tfevents.*"))
    plugins = {}
    for event in (event for file in files for event in EventFileLoader(file).Load()):
        for value in event.summary.value:
            plugins.setdefault(value.metadata.plugin_data.plugin_name, set()).add(value.tag)
            if value.tag in HISTOGRAMS:
                buckets = make_ndarray(value.tensor)  # left edge, right edge, count
                require(buckets.shape[1:] == (3,) and (buckets[:, 0] <= buckets[:, 1]).all(), f"{value.tag}: {buckets}")
                require((buckets[1:, 0] == buckets[:-1, 1]).all(), f"{value.tag}: {buckets}")
    require(set(plugins) == {"scalars", "histograms", "text"}, f"{plugins}")
    require(plugins["histograms"] == set(HISTOGRAMS), f"{plugins}")


def check_all(build, folder):
    images = folder / "images"
    make_images(images)
    flags = ("--num_epochs", str(EPOCHS))  # every stage of the suite of faults has --tensorboard 1
    teacher = folder / "teacher"
    Stage(build, images, "train_standard").complete(teacher, "--num_epochs", "1")
    stage = Stage(build, images, "train_kd", "--teacher_model", "resnet8", "--teacher_resume", str(teacher))
    straight = folder / "straight"
    stage.complete(straight, *flags)
    expected = accumulator(straight).Reload()
    check_run(expected, straight, EPOCHS)
    check_loader(straight)

    # Two epochs and a part; then so many more that a kill comes before the state of an epoch whose events are there.
    run, before = folder / "run", folder / "before"
    stage.complete(run, *flags, "--max_steps", "14")
    watching = accumulator(run).Reload()  # a TensorBoard that shows the run all the time
    require(len(watching.Scalars("test/loss")) == 2, "two epochs before the kill")
    shutil.copytree(run, before)
    begun = list(run.glob("events.*"))
    process = stage.start(run, "--resume")
    deadline = time.monotonic() + 60
    while list(run.glob("events.*")) == begun and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    watching.Reload()
    require(len(watching.Scalars("test/loss")) >= 3, "an epoch more before the kill")
    for path in before.iterdir():
        if not path.name.startswith("events."):
            shutil.copy(path, run)
    with open(max(run.glob("events.*")), "ab") as cut:
        cut.write(b"\x18\0\0\0\0\0\0\0cut off")
    stage.complete(run, "--resume")
    for events in (accumulator(run).Reload(), watching.Reload()):
        check_run(events, run, EPOCHS)
        found = scalars_of(events)
        for tag, values in scalars_of(expected).items():
            require(tag in TIMES or found[tag] == values, f"{tag}: {found[tag]} and without a kill {values}")
    check_loader(run)
    print(f"tensorboard: {EPOCHS} epochs, killed and resumed: as of an uninterrupted run")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--environment", type=Path)
    arguments = parser.parse_args()
    if arguments.environment is not None:
        python = pypi.python_with(["tensorboard"], arguments.environment, "tensorboard")
        os.execv(python, [python, "-B", __file__, "--build", arguments.build])
    with tempfile.TemporaryDirectory() as folder:
        try:
            check_all(arguments.build.resolve(), Path(folder))
        except Finding as finding:
            sys.exit(f"tensorboard: {finding}")


if __name__ == "__main__":
    main()
