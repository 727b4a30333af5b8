"""Runs of the real programs on a few small images, and what must be equal between them."""
import contextlib
import copy
import os
import pathlib
import random
import shutil
import struct
import subprocess
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Finding(Exception):
    """Something did not hold."""


def require(held, message):
    if not held:
        raise Finding(message)


def png(height, width, pixels):
    """The smallest PNG file of these RGB bytes."""
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    rows = b"".join(b"\0" + pixels[3 * width * y:3 * width * (y + 1)] for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 1)) +
            chunk(b"IEND", b""))


def make_images(folder):
    """Class folders of noise: three classes of 14 training and 5 test images, 16 rows by 24 columns."""
    noise = random.Random(7)
    for split, count in (("train", 14), ("test", 5)):
        for label in range(3):
            class_folder = folder / split / f"class{label}"
            class_folder.mkdir(parents=True)
            for image in range(count):
                pixels = bytes(noise.randrange(180) + (70 if i % 3 == label else 0) for i in range(16 * 24 * 3))
                (class_folder / f"{image}.png").write_bytes(png(16, 24, pixels))


class Stage:
    """A training program with its flags; six steps an epoch on the images of make_images."""

    def __init__(self, build, images, program, *flags):
        self.program = program
        self.images = images
        self.command = [str(build / "apps" / program), "--dataset", "class_folders",
                        "--model_name", "resnet8", "--batch_size", "8", "--threads", "1", "--num_workers", "1",
                        "--log_steps", "1", "--tensorboard", "1", *flags]

    def on(self, images):
        """The same on a copy of the images."""
        other = copy.copy(self)
        other.images = images
        return other

    def start(self, folder, *flags, faults=None):
        """Starts it in a run's folder. Its standard output goes to a file beside that."""
        output = folder.with_name(folder.name + ".output")
        environment = {**os.environ, "HOME": str(folder.parent), "XDG_CACHE_HOME": "", **(faults or {})}
        with open(output, "wb") as file:
            return subprocess.Popen([*self.command, "--data_dir", str(self.images), "--save_path", str(folder), *flags],
                                    env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.PIPE)

    def finish(self, folder, *flags, faults=None):
        """Runs it to its end. Returns the exit code, minus the signal if one killed it, and the error text."""
        run = self.start(folder, *flags, faults=faults)
        try:
            errors = run.communicate(timeout=300)[1].decode(errors="replace")
        except subprocess.TimeoutExpired:
            run.kill()
            raise Finding(f"{self.program} in {folder} did not end within 300 s") from None
        return run.returncode, errors

    def complete(self, folder, *flags, faults=None):
        code, errors = self.finish(folder, *flags, faults=faults)
        require(code == 0, f"{self.program} in {folder}: exit code {code}: {errors}")

    def go_on(self, folder, *flags):
        """Flags that start the run, or resume it if it has begun."""
        begun = (folder / "training_state.safetensors").exists()
        return [*flags, "--resume"] if begun else list(flags)


def epochs_in(content):
    """The records of an event file that are of epochs, without the time that each begins with; of the numbers in them,
    some of which are times, only how many there are. Nothing behind a record that is cut off."""
    records = []
    while len(content) >= 16:
        size = struct.unpack("<Q", content[:8])[0]
        if len(content) < 16 + size:
            break
        data = content[12:12 + size]
        if data[9:10] == b"\x10" and data[11:12] == b"\x2a":  # a step below 128, and a summary
            records.append((data[10], len(data)))
        content = content[16 + size:]
    return records


def contents(folder):
    """Every file of a run, by name, without what holds times: two equal runs have equal contents."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            continue
        name = str(path.relative_to(folder))
        content = path.read_bytes()
        if path.name.startswith("events.out.tfevents."):  # each program leaves one
            files["events"] = files.get("events", []) + epochs_in(content)
            continue
        if name == "metrics.csv":  # images_per_s and seconds are the last columns
            content = b"\n".join(line.rsplit(b",", 2)[0] for line in content.splitlines())
        files[name] = b"" if name == "training.log" else content
    return files


def require_same(folder, reference, what):
    found = contents(folder)
    for name in sorted(found.keys() | reference.keys()):
        require(name in found, f"{what}: {folder / name} is missing")
        require(name in reference, f"{what}: {folder / name} was left behind")
        require(found[name] == reference[name], f"{what}: {folder / name} is another than the uninterrupted run's")


@contextlib.contextmanager
def copy_of(folder, path):
    """A copy of a folder, for a while; it stays for a look at it after a finding."""
    shutil.copytree(folder, path)
    yield path
    shutil.rmtree(path)
    path.with_name(path.name + ".output").unlink(missing_ok=True)
