#include "apps/training/device.h"

#include "core/threads.h"

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

AlgorithmChoice chosen_algorithms(const Config& config) {
  AlgorithmChoice choice{.deterministic = config.deterministic, .tf32 = config.tf32};
  if (config.tune) choice.convolutions = ConvolutionChoice::measured;
  if (!config.winograd) choice.convolutions = ConvolutionChoice::direct;
  return choice;
}

Device set_up_device(const Config& config) {
  set_threads(static_cast<int>(config.threads));
  const Device device = choose_device(config.device);
  backend(device).choose_algorithms(chosen_algorithms(config));
  return device;
}

}  // namespace generous
