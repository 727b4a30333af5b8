#include "apps/training/device.h"

#include "core/threads.h"

namespace generous {

void DeviceSettings::declare(Options& options) {
  options.group("device");
  options.add("device", device,
              {.help = "where to compute", .choices = {"auto", "cpu", "cuda"}, .role = Role::flexible});
  options.add(
      "winograd", winograd,
      {.help = "cpu: fast convolutions with a rounding error some times larger; 0: direct ones alone"});
  options.add("tune", tune, {.help = "measure which convolution is faster: other bits in every run"});
  options.add("deterministic", deterministic,
              {.help = "cuda: only algorithms that give the same bits in every run (the CPU's always do)"});
  options.add("tf32", tf32,
              {.help = "cuda: f32 products and convolutions with factors of 10 mantissa bits, much faster"});
  options.add("threads", threads,
              {.help = "threads that compute; 0: all cores", .min = 0, .max = 1024, .role = Role::flexible});
}

void DTypeSettings::declare(Options& options) {
  options.group("device");
  options.add("dtype", dtype,
              {.help = "of activations and their gradients; all else is f32", .choices = {"f32", "bf16"}});
}

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

AlgorithmChoice chosen_algorithms(const DeviceSettings& settings) {
  AlgorithmChoice choice{.deterministic = settings.deterministic, .tf32 = settings.tf32};
  if (settings.tune) choice.convolutions = ConvolutionChoice::measured;
  if (!settings.winograd) choice.convolutions = ConvolutionChoice::direct;
  return choice;
}

Device set_up_device(const DeviceSettings& settings, bool op_by_op) {
  set_threads(static_cast<int>(settings.threads));
  const Device device = choose_device(settings.device);
  AlgorithmChoice choice = chosen_algorithms(settings);
  choice.op_by_op = op_by_op;
  backend(device).choose_algorithms(choice);
  return device;
}

}  // namespace generous
