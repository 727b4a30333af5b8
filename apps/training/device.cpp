#include "apps/training/device.h"

#include <omp.h>

namespace generous {

Device choose_device(const std::string& choice) {
  const bool cuda = choice == "cuda" || (choice == "auto" && has_backend(Device::cuda));
  const Device device = cuda ? Device::cuda : Device::cpu;
  backend(device);  // throws if it is not there
  return device;
}

DType choose_dtype(const std::string& choice, Device device) {
  if (choice != "bf16") return DType::f32;
  const std::string missing = backend(device).why_no_bf16();
  require(missing.empty(), "no bf16: {}; --dtype f32 is available", missing);
  return DType::bf16;
}

void set_threads(std::int64_t threads) {
  // Before any setting, OpenMP's maximum is the number of cores this process may use (or OMP_NUM_THREADS).
  static const int available = omp_get_max_threads();
  omp_set_num_threads(threads > 0 ? static_cast<int>(threads) : available);
}

std::int64_t computing_threads() { return omp_get_max_threads(); }

AlgorithmChoice chosen_algorithms(const Config& config) {
  AlgorithmChoice choice{.deterministic = config.deterministic, .tf32 = config.tf32};
  if (config.tune) choice.convolutions = ConvolutionChoice::measured;
  if (!config.winograd) choice.convolutions = ConvolutionChoice::direct;
  return choice;
}

Device set_up_device(const Config& config) {
  set_threads(config.threads);
  const Device device = choose_device(config.device);
  backend(device).choose_algorithms(chosen_algorithms(config));
  return device;
}

}  // namespace generous
