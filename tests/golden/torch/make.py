#!/usr/bin/env python3
"""Writes the checkpoints that the suite torch_checkpoint reads, by PyTorch itself: python3 make.py, in this folder.

The numbers are small multiples of 1/8, which every type holds: element i of a tensor is (first + i) / 8.
"""
import argparse
import collections
import zipfile

import numpy
import torch


def counting(first, *shape, dtype=torch.float32):
    count = int(numpy.prod(shape))
    return ((torch.arange(count, dtype=torch.float64) + first) / 8).to(dtype).reshape(shape)


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(2, 3)


base = counting(-5, 5, 7)
weights = collections.OrderedDict(
    [("conv.weight", counting(-11, 2, 3, 2, 2)), ("half", counting(3, 4, dtype=torch.float16)),
     ("brain", counting(-2, 3, dtype=torch.bfloat16)), ("double", counting(9, 2, 3, dtype=torch.float64)),
     ("whole", base), ("transposed", base.t()), ("part", base[1:4, 2:7:2]), ("scalar", counting(40)),
     ("empty", torch.empty(0, 3)), ("expanded", base[0:1, 0:3].expand(2, 3)),
     ("bn.num_batches_tracked", torch.tensor(12345678901)), ("small", torch.tensor([-7, 5], dtype=torch.int16)),
     ("byte", torch.tensor([200, 1], dtype=torch.uint8)), ("flags", torch.tensor([True, False]))])
parameters = collections.OrderedDict([("fc.weight", torch.nn.Parameter(counting(1, 3, 2))),
                                      ("fc.bias", torch.nn.Parameter(counting(7, 3)))])
parallel = collections.OrderedDict([("module.fc.weight", counting(1, 3, 2)), ("module.fc.bias", counting(7, 3))])
published = {"epoch": 200, "state_dict": parallel, "best": numpy.float64(71.5), "optim_dict": {
    "state": {0: {"momentum_buffer": counting(0, 3, 2)}},
    "param_groups": [{"lr": 0.1, "momentum": 0.9, "nesterov": False, "params": [0, 1]}]}}
model = {"opt": argparse.Namespace(lr=0.05, gpus=None, steps=[150, 180]), "model": parallel, "accuracy": torch.tensor(70.25)}
for name, content in {"weights": weights, "parameters": parameters, "published": published, "model": model}.items():
    torch.save(content, f"{name}.pth")
    torch.save(content, f"{name}_stream.tar", _use_new_zipfile_serialization=False)
for name, content in {"whole_model": Model(), "no_weights": {"epoch": 3, "lr": 0.1}, "list": [counting(0, 2)]}.items():
    torch.save(content, f"{name}.pth")
with zipfile.ZipFile("script.pth", "w") as archive:  # what tells a TorchScript program from a checkpoint
    archive.writestr("script/data.pkl", b"\x80\x02}.")
    archive.writestr("script/constants.pkl", b"\x80\x02).")
