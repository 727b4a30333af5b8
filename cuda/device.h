// Which GPU, and whether it and its driver fit this build.
#pragma once

#include <string>

namespace generous::cuda {

struct Gpu {
  std::string name;  ///< "NVIDIA H200"
  int major = 0;     ///< compute capability: 9.0 is sm_90
  int minor = 0;
  int multiprocessors = 0;
  std::string runtime;     ///< of CUDA, "13.0"
  std::string pci_bus_id;  ///< "0000:17:00.0"
};

/// Makes the visible GPU of this number, from 0, the current one (CUDA_VISIBLE_DEVICES changes which are
/// visible). Throws Error that says what is missing: a driver, one that is new enough, a GPU, that one, or
/// compute capability 8.0 or more.
Gpu choose_gpu(int number);

}  // namespace generous::cuda
