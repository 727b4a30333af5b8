#!/usr/bin/env python3
"""What several nodes should reach, computed from step times measured here and the network's speed (nn/parallel.md).

    python3 apps/benchmark/nodes.py --model resnet18 --batch 512             measures build/apps/benchmark, 10 and 100 Gbit/s
    python3 apps/benchmark/nodes.py --gbits 1 --latency-us 50                 your network
    python3 apps/benchmark/nodes.py --step-ms 9.5 --mb 44.7 --batch 512 --gbits 2400 --latency-us 5 --nodes 2 4 8
                                                                              a step measured elsewhere: 8 GPUs over NVLink
"""
import argparse
import json
import pathlib
import subprocess

BENCHMARK = pathlib.Path(__file__).resolve().parents[2] / "build" / "apps" / "benchmark"
BUCKET_MB = 8 * 1.048576  # nn/parallel/buckets.cpp
BACKWARD = 2 / 3  # of a step: the backward pass, in which buckets travel


def measure(arguments, batch):
    """(milliseconds of a step of one process, megabytes of its gradients)"""
    command = [BENCHMARK, "--models", arguments.model, "--stages", arguments.stage, "--dtypes", arguments.dtype, "--batch",
               str(batch), "--threads", str(arguments.threads), "--steps", "5", "--json", "1"]
    line = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return line["step_ms"], line["gradient_mb"]


def communication_ms(nodes, megabytes, gbits, latency_us):
    """Of a ring: every node sends 2 (n - 1) / n of the gradients, in 2 (n - 1) messages a bucket."""
    buckets = max(1, round(megabytes / BUCKET_MB))
    sending = 2 * (nodes - 1) / nodes * megabytes * 8 / gbits
    return sending + 2 * (nodes - 1) * latency_us * buckets / 1e3


def exposed_ms(communication, step, megabytes):
    """What the step waits for: the last bucket, which the backward pass ends with, and what did not fit beside the pass."""
    buckets = max(1, round(megabytes / BUCKET_MB))
    window = BACKWARD * step * (1 - 1 / buckets)
    return max(communication / buckets, communication - window)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--stage", default="standard")
    parser.add_argument("--dtype", default="f32", choices=("f32", "bf16"))
    parser.add_argument("--batch", type=int, default=128, help="images of one node's step, and of the global batch shared out")
    parser.add_argument("--threads", type=int, default=0, help="of a node; 0: its cores")
    parser.add_argument("--nodes", type=int, nargs="+", default=[2, 4, 8, 16, 32, 64])
    parser.add_argument("--gbits", type=float, nargs="+", default=[10.0, 100.0], help="of the network, each way")
    parser.add_argument("--latency-us", type=float, default=20.0, help="of a message")
    parser.add_argument("--step-ms", type=float, help="of one node with --batch, instead of measuring it")
    parser.add_argument("--mb", type=float, help="of the gradients, with --step-ms")
    arguments = parser.parse_args()
    if (arguments.step_ms is None) != (arguments.mb is None):
        parser.error("--step-ms and --mb belong together")

    steps = {}

    def step_of(batch):
        if arguments.step_ms is not None:
            return (arguments.step_ms, arguments.mb) if batch == arguments.batch else (None, None)
        if batch not in steps:
            steps[batch] = measure(arguments, batch)
        return steps[batch]

    alone, megabytes = step_of(arguments.batch)
    print(f"one node: {1e3 * arguments.batch / alone:.1f} images/s with steps of {arguments.batch} images, {alone:.1f} ms; "
          f"gradients of {megabytes:.2f} MB\n")
    head = ["nodes"]
    for gbits in arguments.gbits:
        head += [f"{gbits:g} Gbit/s: {arguments.batch} images a node", f"{gbits:g} Gbit/s: {arguments.batch} images in all"]
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    for nodes in arguments.nodes:
        row = [str(nodes)]
        for gbits in arguments.gbits:
            for batch in (arguments.batch, arguments.batch // nodes):
                step = step_of(batch)[0] if batch >= 2 else None
                if step is None:
                    row.append("")
                    continue
                sending = communication_ms(nodes, megabytes, gbits, arguments.latency_us)
                rate = 1e3 * batch * nodes / (step + exposed_ms(sending, step, megabytes))
                times = rate / (1e3 * arguments.batch / alone)
                row.append(f"{rate:.0f} images/s, {times:.1f} times one")
        print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
