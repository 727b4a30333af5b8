// All of the library that programs outside of this project may rely on: whatever header is not reached from
// here is its own affair, and is not installed.
#pragma once

#if __cplusplus < 202002L
#error "generous needs C++20: compile with -std=c++20"
#endif

// Tensors, automatic differentiation, files of tensors
#include "core/autograd.h"
#include "core/io/torch_checkpoint.h"
#include "core/ops.h"
#include "core/random.h"
#include "core/safetensors.h"
#include "core/threads.h"
#include "core/version.h"
#include "core/waiting.h"
// Networks and what trains them; distillation
#include "nn/distill/generous.h"
#include "nn/distill/kd.h"
#include "nn/distill/methods.h"
#include "nn/layers.h"
#include "nn/losses.h"
#include "nn/models/registry.h"
#include "nn/optim.h"
#include "nn/schedule.h"
#include "nn/state_dict.h"
#include "nn/weight_average.h"
// Images
#include "data/dataset.h"
#include "data/image_file.h"
#include "data/loader.h"
#include "data/mixing.h"
#include "data/subset.h"
