#!/usr/bin/env bash
# What a bundle will run on: card, driver, and which cuDNN and cuBLAS its programs find. The last line names the card.
# Exits 1 where something is missing that the programs need.
#   bash tests/gpu/versions.sh BUNDLE
set -euo pipefail
bundle=$1
read -r kind built <"$bundle/kind"
echo "bundle: $kind, $built"
uname -srm
nproc
grep -m 1 '^model name' /proc/cpuinfo || true
missing=$(ldd "$bundle"/tests/* "$bundle"/apps/* 2>/dev/null | grep 'not found' | sort -u) || true
if [ -n "$missing" ]; then
  echo "$missing"
  exit 1
fi
ldd "$bundle"/apps/benchmark 2>/dev/null | grep -E 'cudnn|cublas' || true
if command -v python3 >/dev/null; then
  python3 -c 'import torch; print("PyTorch", torch.__version__, "with cuDNN", torch.backends.cudnn.version())' 2>/dev/null ||
    echo "no PyTorch"
fi
if [ "$kind" = emulated ]; then
  echo "no GPU: the emulation"
  exit
fi
if ! command -v nvidia-smi >/dev/null; then
  echo "nvidia-smi not found: there is no NVIDIA driver here"
  exit 1
fi
nvidia-smi --query-gpu=clocks.max.sm,clocks.max.mem,power.limit,temperature.gpu --format=csv
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
