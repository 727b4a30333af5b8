#include "apps/training/device.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <vector>

#include "core/threads.h"

namespace generous {

namespace {

constexpr std::string_view numbered = "cuda:";

/// The number that a text is, without sign and leading zeros.
std::optional<int> number_in(std::string_view digits) {
  const bool plain = digits == "0" || (!digits.empty() && digits[0] >= '1' && digits[0] <= '9');
  int number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (!plain || error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return number;
}

/// The GPUs that a text such as cuda:1 or cuda:0,1 names; none where it names them otherwise.
std::vector<int> gpu_numbers(std::string_view choice) {
  std::vector<int> numbers;
  if (!choice.starts_with(numbered)) return numbers;
  choice.remove_prefix(numbered.size());
  for (std::size_t comma = 0; comma != std::string_view::npos;) {
    comma = choice.find(',');
    const std::optional<int> number = number_in(choice.substr(0, comma));
    if (!number) return {};
    numbers.push_back(*number);
    choice.remove_prefix(std::min(comma + 1, choice.size()));
  }
  return numbers;
}

bool is_device(const std::string& choice) {
  return choice == "auto" || choice == "cpu" || choice == "cuda" || !gpu_numbers(choice).empty();
}

}  // namespace

void DeviceSettings::declare(Options& options) {
  options.group("device");
  options.add(
      "device", device,
      {.help = "where to compute; of several processes each takes a GPU of its own, by cuda:0,2 one of "
               "these",
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

std::string own_device(const std::string& choice, const Group& group) {
  const std::vector<int> listed = gpu_numbers(choice);
  const HostPlace place = group.on_host();
  if (listed.size() > 1) {
    require(listed.size() == static_cast<std::size_t>(place.size),
            "device: {} names {} GPUs, one for each process of a host, and {} here: mpirun -np {} starts as "
            "many",
            choice, listed.size(), place.size == 1 ? "one runs" : fmt::format("{} run", place.size),
            listed.size());
    return fmt::format("{}{}", numbered, listed[static_cast<std::size_t>(place.rank)]);
  }
  if (group.size() == 1 || choice == "cpu" || !listed.empty()) return choice;
  // Where a batch system shows each process a GPU of its own there is one for each.
  const int visible = visible_gpus();
  return visible == 0 ? choice : fmt::format("{}{}", numbered, place.rank % visible);
}

Device choose_device(const std::string& choice) {
  if (const std::vector<int> numbers = gpu_numbers(choice); !numbers.empty()) {
    use_gpu(numbers[0]);
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

Device set_up_device(const DeviceSettings& settings, const Group& group, bool op_by_op) {
  set_threads(group.threads(static_cast<int>(settings.threads)));
  const Device device = choose_device(own_device(settings.device, group));
  AlgorithmChoice choice = chosen_algorithms(settings);
  choice.op_by_op = op_by_op;
  backend(device).choose_algorithms(choice);
  return device;
}

}  // namespace generous
