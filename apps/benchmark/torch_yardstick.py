#!/usr/bin/env python3
"""The same steps in PyTorch on this machine's CPU: what compare.py holds build/apps/benchmark against.

    python3 -m venv VENV && VENV/bin/pip install torch numpy safetensors
    VENV/bin/python apps/benchmark/torch_yardstick.py --models resnet18,preresnet20 --stages standard,generous
    VENV/bin/python apps/benchmark/torch_yardstick.py --check WEIGHTS.safetensors --models resnet18

A step of training is forward, loss, backward and SGD with momentum and weight decay on one batch of normal random
images of 32x32; infer is a forward pass in evaluation mode. generous and kd have a frozen teacher, --teacher, by
default of the same kind. Every variant is measured: eager and compiled, NCHW and NHWC; prints a line of JSON each, the
median of --steps steps after two to warm up, or the line's "error". PyTorch is given what helps it: a malloc that keeps
the memory of a step for the next one (not with --stock_malloc 1), and SGD fused into one loop over the weights.

--check reads a weight file of the programs with every name and shape of it, and compares the logits of the images that
`build/apps/predict WEIGHTS --input IMAGES.safetensors --output LOGITS.safetensors` had: exits with 1 where they differ by more than rounding.
"""
import argparse
import json
import os
import resource
import statistics
import sys
import time

KEEPING_MALLOC = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": str(2**28)}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="resnet18,wrn_16_2,wrn_40_2,resnet8x4,preresnet20,resnet20,net")
    parser.add_argument("--stages", default="standard,generous", help="of standard, generous, kd, infer")
    parser.add_argument("--dtypes", default="f32,bf16")
    parser.add_argument("--layouts", default="nchw,nhwc")
    parser.add_argument("--modes", default="eager,compile")
    parser.add_argument("--teacher")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--stock_malloc", type=int, choices=(0, 1), default=0)
    parser.add_argument("--check", metavar="WEIGHTS")
    parser.add_argument("--images", help="with --check: the file that predict read")
    parser.add_argument("--logits", help="with --check: the file that predict wrote")
    return parser.parse_args()


options = parse()
if not options.stock_malloc and any(os.environ.get(key) != value for key, value in KEEPING_MALLOC.items()):
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEEPING_MALLOC})  # malloc reads it at its start

import torch
from torch.nn import functional as F

from torch_networks import network


def others(logits, labels):
    """Log-probabilities of the classes that are not the image's own, {B, C}; its own has none."""
    own = F.one_hot(labels, logits.shape[1]).bool()
    return F.log_softmax(logits.masked_fill(own, float("-inf")), dim=1).masked_fill(own, 0.0), ~own


def generous(student, teacher, labels, tn=1.0, alpha=1.0):
    """Cross-entropy and what is absorbed of the other classes, each image at tn standard deviations of its logits
    (Ding et al. 2024)."""
    t_student = tn * student.std(1, keepdim=True)
    t_teacher = tn * teacher.std(1, keepdim=True)
    log_s, kept = others(student / t_student, labels)
    log_t, _ = others(teacher / t_teacher, labels)
    divergence = ((log_t.exp() * (log_t - log_s)) * kept).sum(1)
    return F.cross_entropy(student, labels) + alpha * (t_teacher.squeeze(1) ** 2 * divergence).mean()


def kd(student, teacher, labels, temperature=4.0, alpha=0.9):
    """Hinton et al. 2015."""
    divergence = F.kl_div(F.log_softmax(student / temperature, 1), F.softmax(teacher / temperature, 1),
                          reduction="batchmean")
    return (1 - alpha) * F.cross_entropy(student, labels) + alpha * temperature**2 * divergence


LOSSES = {"standard": lambda student, _, labels: F.cross_entropy(student, labels), "generous": generous, "kd": kd}


def make_step(model, stage, dtype, layout, mode):
    """A function of no arguments that takes a step."""
    torch.manual_seed(0)
    form = torch.channels_last if layout == "nhwc" else torch.contiguous_format
    images = torch.randn(options.batch, 3, 32, 32).contiguous(memory_format=form)
    labels = torch.randint(0, options.classes, (options.batch,))
    made = (lambda part: torch.compile(part, dynamic=False)) if mode == "compile" else (lambda part: part)
    autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bf16")
    student = network(model, options.classes).to(memory_format=form)
    if stage == "infer":
        run = made(student.eval())

        def infer():
            with torch.no_grad(), autocast:
                run(images)
        return infer
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, fused=True)
    learn, loss_of = made(student.train()), made(LOSSES[stage])
    teach = None
    if stage != "standard":
        teach = made(network(options.teacher or model, options.classes).to(memory_format=form).eval().requires_grad_(False))

    def train():
        with autocast:
            with torch.no_grad():
                known = teach(images).float() if teach else None
            loss = loss_of(learn(images).float(), known, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return train


def measure(model, stage, dtype, layout, mode):
    """A line's figures."""
    if mode == "compile":
        torch.compiler.reset()  # or the variants before count towards its limit of recompilations
    step = make_step(model, stage, dtype, layout, mode)
    for _ in range(2):
        step()
    seconds = []
    for _ in range(options.steps):
        begin = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begin)
    return {"images_per_s": round(options.batch / statistics.median(seconds), 1),
            "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}


def measure_all():
    for model in options.models.split(","):
        for stage in options.stages.split(","):
            for dtype in options.dtypes.split(","):
                for layout in options.layouts.split(","):
                    for mode in options.modes.split(","):
                        line = {"model": model, "stage": stage, "dtype": dtype, "layout": layout, "mode": mode,
                                "batch": options.batch, "torch": torch.__version__}
                        try:
                            line |= measure(model, stage, dtype, layout, mode)
                        except (RuntimeError, ValueError) as error:  # a variant that PyTorch cannot run is said
                            line["error"] = str(error).strip().splitlines()[0]
                        print(json.dumps(line), flush=True)


def check():
    """The largest difference of the logits from predict's, beside their size; exits with 1 beyond 1e-5 of it."""
    from safetensors.torch import load_file
    weights = load_file(options.check)
    net = network(options.models, next(reversed([w for n, w in weights.items() if n.endswith(".weight") and w.dim() == 2])).shape[0])
    net.load_state_dict(weights, strict=True)
    ours = next(iter(load_file(options.logits).values()))
    with torch.no_grad():
        theirs = net.eval()(next(iter(load_file(options.images).values())))
    difference, size = (ours - theirs).abs().max().item(), theirs.abs().max().item()
    print(f"{options.models}: logits up to {size:.4g}, difference up to {difference:.2g}")
    sys.exit(difference > 1e-5 * size)


if __name__ == "__main__":
    torch.set_num_threads(options.threads)
    check() if options.check else measure_all()
