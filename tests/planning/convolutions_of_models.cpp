// Prints every distinct convolution of the models, one a line, for plan_convolutions: those of training, and
// those of frozen models with what follows them. Batches of 128.
//   convolutions_of_models [MODEL...]     without names: all
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <iostream>
#include <map>

#include "core/autograd.h"
#include "core/profiling_backend.h"
#include "nn/models/registry.h"

namespace generous {
namespace {

constexpr std::int64_t batch = 128;

/// The widths and depths of wrn_D_K that the field compares.
const std::vector<std::string> wide_resnets{"wrn_16_1", "wrn_16_2", "wrn_40_1", "wrn_40_2", "wrn_28_10"};

std::vector<std::string> all_models() {
  std::vector<std::string> names = model_names();
  std::erase(names, "wrn_D_K");
  names.insert(names.end(), wide_resnets.begin(), wide_resnets.end());
  return names;
}

Shape of_batch(const Shape& one) { return {batch, one[1], one[2], one[3]}; }

/// x, weight, y, stride, padding, groups, bias, residual, activation (0, 1: ReLU, 2: ReLU6), as plain
/// numbers. A line for the convolution by itself, unless it is frozen, and one with what follows it, which
/// the backend asks for with a bias always.
std::vector<std::string> lines_of(const ConvolutionCall& call) {
  const bool frozen = call.direction == ConvolutionCall::Direction::inference;
  const std::string plain = fmt::format(
      "{} {} {} {} {} {}", fmt::join(of_batch(call.x).dims(), " "), fmt::join(call.weight.dims(), " "),
      fmt::join(of_batch(call.y).dims(), " "), call.params.stride, call.params.padding, call.params.groups);
  const bool ends = call.residual || (frozen && (call.bias || call.activation != Activation::none));
  std::vector<std::string> lines;
  if (!frozen || !ends) lines.push_back(plain + " 0 0 0");
  if (ends)
    lines.push_back(fmt::format("{} 1 {} {}", plain, int{call.residual}, static_cast<int>(call.activation)));
  return lines;
}

/// What a model's forward pass convolves, as it is and frozen.
std::vector<ConvolutionCall> convolutions_of(const std::string& name, const Shape& image) {
  const auto model = make_model(name, {.image = image});
  const Tensor images = Tensor::zeros({1, image[0], image[1], image[2]}, DType::f32);
  const NoGrad no_grad;
  ProfileScope profile(Device::cpu);
  model->eval();
  model->forward(images, nullptr);
  model->freeze();
  model->forward(images, nullptr);
  return profile.take().convolutions;
}

void run(const std::vector<std::string>& names) {
  std::map<std::string, std::string> users;  // of each line
  for (const std::string& name : names)
    for (const Shape& image : {Shape{32, 32, 3}, Shape{28, 28, 1}}) {
      try {
        for (const ConvolutionCall& call : convolutions_of(name, image))
          for (const std::string& line : lines_of(call)) users.emplace(line, name);
      } catch (const Error&) {
        if (image[0] == 32) throw;  // smaller images are too small for some
      }
    }
  for (const auto& [line, name] : users) std::cout << line << ' ' << name << '\n';
}

}  // namespace
}  // namespace generous

int main(int argc, char** argv) {
  const std::vector<std::string> names(argv + 1, argv + argc);
  generous::run(names.empty() ? generous::all_models() : names);
}
