"""Every model as a file of ONNX: ONNX's own checker accepts it, and onnxruntime computes what the network does.

    python3 -B tests/onnx/check.py --models build/tests/onnx_models --environment build/onnx-environment

onnx and onnxruntime are installed from PyPI, once, into a virtual environment (tests/pypi.py).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import pypi

# Of the largest number of an output. A pixel of a feature has no mean over its neighbours to even rounding errors out.
TOLERANCE = 1e-5
FEATURE_TOLERANCE = 5e-5
PACKAGES = ["numpy", "onnx", "onnxruntime"]


def read_tensors(path):
    """The tensors of a safetensors file, all f32."""
    import numpy

    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        tensors[name] = numpy.frombuffer(content[begin:end], dtype="<f4").reshape(entry["shape"])
    return tensors


def check(folder, name, worst):
    """Throws AssertionError for what does not hold. `worst`: the largest differences so far, of features and logits."""
    import numpy
    import onnx
    import onnxruntime

    path = folder / f"{name}.onnx"
    expected = read_tensors(folder / f"{name}.safetensors")
    images = expected.pop("images")
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert {entry.key: entry.value for entry in model.metadata_props} == {"case": name}
    assert [entry.name for entry in model.graph.output] == list(expected), list(expected)
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names), "two nodes of one name"
    if "-frozen" in name and name.startswith("resnet"):
        assert not [node for node in model.graph.node if node.op_type == "BatchNormalization"]

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    assert [entry.shape for entry in session.get_inputs()] == [["batch", *images.shape[1:]]]
    for first, last in ((0, len(images)), (1, 2)):  # a whole batch, and one image of it
        found = session.run(None, {"images": images[first:last]})
        for output, values, wanted in zip(session.get_outputs(), found, expected.values()):
            assert output.shape == ["batch", *wanted.shape[1:]], (output.name, output.shape)
            wanted = wanted[first:last]
            assert values.shape == wanted.shape, (output.name, values.shape, wanted.shape)
            difference = float(numpy.abs(values - wanted).max() / numpy.abs(wanted).max())
            allowed = TOLERANCE if output.name == "logits" else FEATURE_TOLERANCE
            assert difference <= allowed, f"{output.name} of {last - first} images differs by {difference:.2g}"
            worst[output.name == "logits"] = max(worst[output.name == "logits"], difference)
    logits = expected["logits"]
    for other in logits[1:]:
        assert numpy.abs(logits[0] - other).max() > 1000 * TOLERANCE * numpy.abs(logits).max(), "logits of any image"


def check_all(models):
    """Checks one network while the next one is written."""
    failures, count, worst = 0, 0, [0.0, 0.0]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        with subprocess.Popen([models, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:

            def ask():
                try:
                    writer.stdin.write("\n")
                    writer.stdin.flush()
                except BrokenPipeError:
                    pass  # it has written all

            ask()
            for line in writer.stdout:
                ask()
                name = line.strip()
                count += 1
                try:
                    check(folder, name, worst)
                except Exception as error:  # whatever the packages find
                    failures += 1
                    print(f"onnx: {name}: {error}")
                for file in folder.glob(f"{name}.*"):
                    file.unlink()
            writer.stdin.close()
        if writer.returncode != 0:
            sys.exit(f"onnx: onnx_models ended with {writer.returncode}")
    features, logits = worst
    print(f"onnx: {count} files, {failures} failures; differences: {logits:.2g} (logits), {features:.2g}")
    sys.exit(1 if failures or not count else 0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--environment", type=Path)
    arguments = parser.parse_args()
    if arguments.environment is None:
        return check_all(arguments.models)
    python = pypi.python_with(PACKAGES, arguments.environment, "onnx")
    os.execv(python, [python, "-B", __file__, "--models", arguments.models])


if __name__ == "__main__":
    main()
