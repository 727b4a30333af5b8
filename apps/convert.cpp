// Rewrites weights that PyTorch saved as safetensors, which everything reads.
#include <fmt/format.h>

#include "apps/training/program.h"
#include "apps/training/weights.h"
#include "core/console.h"
#include "core/counted.h"
#include "core/finite.h"
#include "core/options.h"

namespace generous {
namespace {

struct Settings {
  std::string input;
  std::string output;

  void declare(Options& options) {
    options.group("files");
    options.add(
        "input", input,
        {.help = "weights, such as a .tar, .pth or .pt of PyTorch: the state dict in it", .required = true});
    options.add("output", output, {.help = "file for the same tensors (.safetensors)", .required = true});
  }
};

int convert(Options& options) {
  Settings settings;
  settings.declare(options);
  if (!options.finish()) return 0;
  require_other_file(settings.output, "input", settings.input);
  const WeightsFile weights = read_weights(settings.input);
  require_finite(weights.content.tensors, settings.input);
  std::map<std::string, std::string> metadata = weights.content.metadata;
  metadata.emplace("format", "pt");
  write_safetensors(settings.output, weights.content.tensors, metadata);
  std::int64_t numbers = 0;
  for (const auto& [name, tensor] : weights.content.tensors) numbers += tensor.numel();
  print_line(fmt::format("{}: {}, {}", settings.output,
                         counted(std::ssize(weights.content.tensors), "tensor"), counted(numbers, "number")));
  return 0;
}

}  // namespace
}  // namespace generous

int main(int argc, char** argv) { return generous::run_program("convert", argc, argv, generous::convert); }
