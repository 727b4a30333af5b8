#include "apps/training/device.h"

#include <charconv>
#include <optional>
#include <string_view>

#include "core/threads.h"

namespace generous {

namespace {

constexpr std::string_view numbered = "cuda:";

/// The GPU that a text such as cuda:1 names.
std::optional<int> gpu_number(std::string_view choice) {
  if (!choice.starts_with(numbered)) return std::nullopt;
  const std::string_view digits = choice.substr(numbered.size());
  const bool plain = digits == "0" || (!digits.empty() && digits[0] >= '1' && digits[0] <= '9');
  int number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (!plain || error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return number;
}

bool is_device(const std::string& choice) {
  return choice == "auto" || choice == "cpu" || choice == "cuda" || gpu_number(choice);
}

}  // namespace

void DeviceSettings::declare(Options& options) {
  options.group("device");
  options.add("device", device,
              {.help = "where to compute",
               .form = "one of auto, cpu, cuda, cuda:N (the GPU of number N, from 0)",
               .fits = is_device,
               .role = Role::flexible});
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
  if (const std::optional<int> number = gpu_number(choice)) {
    use_gpu(*number);
    return Device::cuda;
  }
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
