// The cases of the ops on images and of batch norm: part of op_cases.h.
#pragma once

#include "tests/core/op_case.h"

namespace generous::testing {

inline std::vector<OpCase> image_cases() {
  struct ConvCase {
    Shape x;       ///< {N, H, W, C}
    Shape weight;  ///< {K, R, S, C/groups}
    Conv2dParams params;
    bool bias;
  };
  const ConvCase convolutions[] = {
      {{2, 5, 7, 3}, {4, 3, 3, 3}, {.stride = 1, .padding = 1}, true},
      {{3, 6, 5, 4}, {7, 3, 3, 4}, {.stride = 2, .padding = 1}, false},
      {{2, 7, 8, 5}, {3, 1, 1, 5}, {.stride = 1}, true},
      {{2, 7, 8, 5}, {3, 1, 1, 5}, {.stride = 2}, false},
      {{2, 8, 6, 6}, {4, 3, 3, 3}, {.stride = 1, .padding = 1, .groups = 2}, true},
      {{2, 7, 5, 6}, {9, 3, 3, 2}, {.stride = 2, .padding = 1, .groups = 3}, false},
      {{2, 6, 5, 8}, {8, 3, 3, 1}, {.stride = 1, .padding = 1, .groups = 8}, false},
      {{2, 7, 5, 8}, {8, 3, 3, 1}, {.stride = 2, .padding = 1, .groups = 8}, true},
      {{1, 3, 8, 35}, {35, 3, 3, 1}, {.stride = 1, .padding = 1, .groups = 35}, true},
      {{2, 5, 4, 6}, {9, 1, 1, 2}, {.stride = 1, .padding = 0, .groups = 3}, false},
      {{2, 6, 9, 3}, {5, 5, 5, 3}, {.stride = 3, .padding = 2}, true},
      {{2, 9, 6, 3}, {5, 3, 2, 3}, {.stride = 2, .padding = 1}, true},
      {{2, 6, 7, 16}, {24, 3, 3, 16}, {.stride = 1, .padding = 1}, false},
  };
  std::vector<OpCase> cases;
  for (const ConvCase& test : convolutions) {
    const std::string name = "conv2d " + test.x.str() + " * " + test.weight.str() + " stride " +
                             std::to_string(test.params.stride);
    std::vector<Tensor> inputs;
    inputs.push_back(random_tensor(test.x, "x" + name));
    inputs.push_back(random_tensor(test.weight, "w" + name));
    if (test.bias) inputs.push_back(random_tensor({test.weight[0]}, "b" + name));
    cases.push_back({name, inputs,
                     [params = test.params](const auto& in) {
                       return std::vector{conv2d(in[0], in[1], in.size() > 2 ? in[2] : Tensor(), params)};
                     },
                     true, 1, 0.1});
    if (!test.bias) {
      const Tensor residual =
          random_tensor(conv2d(inputs[0], inputs[1], {}, test.params).shape(), "r" + name);
      cases.push_back({"conv2d_add " + name,
                       {inputs[0], residual, inputs[1]},
                       [params = test.params](const auto& in) {
                         return std::vector{conv2d_add(in[0], in[2], in[1], params)};
                       },
                       true,
                       2,
                       0.1});
      // The second convolution to be differentiated adds to the gradient that the first one left.
      cases.push_back({"used twice " + name,
                       {inputs[0], inputs[1]},
                       [params = test.params](const auto& in) {
                         const Tensor y = conv2d(in[0], in[1], {}, params);
                         return std::vector{conv2d_add(in[0], in[1], y, params)};
                       },
                       true,
                       1,
                       0.1});
    }
    for (const Activation activation : {Activation::none, Activation::relu, Activation::relu6})
      cases.push_back(
          {"frozen " + name + " activation " + std::to_string(static_cast<int>(activation)), inputs,
           [params = test.params, activation](const auto& in) {
             FrozenFilter filter{.weight = in[1], .bias = in.size() > 2 ? in[2] : Tensor(), .prepared = {}};
             const Tensor plain = conv2d_inference(in[0], filter, params);
             return std::vector{
                 conv2d_inference(in[0], filter, params, {.residual = plain, .activation = activation}),
                 conv2d_inference(in[0], filter, params, {.residual = {}, .activation = activation})};
           },
           false, 1});
  }
  const ConvCase transposes[] = {
      // x is {N, P, Q, K}
      {{2, 4, 5, 3}, {3, 4, 4, 6}, {.stride = 2, .padding = 1}, true},
      {{3, 5, 4, 4}, {4, 3, 3, 7}, {.stride = 1, .padding = 1}, true},
      {{2, 3, 4, 6}, {6, 3, 2, 2}, {.stride = 1, .padding = 0, .groups = 2}, true},
  };
  for (const ConvCase& test : transposes) {
    const std::string name = "conv2d_transpose " + test.x.str() + " * " + test.weight.str();
    cases.push_back({name,
                     {random_tensor(test.x, "x" + name), random_tensor(test.weight, "w" + name),
                      random_tensor({test.weight[3] * test.params.groups}, "b" + name)},
                     [params = test.params](const auto& in) {
                       return std::vector{conv2d_transpose(in[0], in[1], in[2], params)};
                     },
                     true,
                     1,
                     0.1});
  }
  const Tensor small = random_tensor({2, 3, 4, 5}, "small");
  for (const auto& [height, width] : {std::pair{6, 8}, {7, 5}, {3, 9}, {2, 3}, {3, 4}})
    cases.push_back({"upsample_nearest to " + std::to_string(height) + " x " + std::to_string(width),
                     {small},
                     [height = height, width = width](const auto& in) {
                       return std::vector{square(upsample_nearest(in[0], height, width))};
                     },
                     true,
                     1});
  for (const auto& [height, width] :
       {std::pair{3, 4}, {2, 8}, {6, 4}, {1, 1}, {6, 8}, {4, 3}, {5, 7}, {9, 5}})
    cases.push_back({"adaptive_avg_pool2d to " + std::to_string(height) + " x " + std::to_string(width),
                     {random_tensor({2, 6, 8, 3}, "adaptive")},
                     [height = height, width = width](const auto& in) {
                       return std::vector{square(adaptive_avg_pool2d(in[0], height, width))};
                     },
                     true,
                     1});
  const std::pair<Shape, Pool2dParams> pools[] = {
      {{2, 6, 8, 5}, {}},
      {{2, 7, 5, 3}, {.kernel_h = 3, .kernel_w = 2, .stride = 1, .padding = 1}},
      {{3, 9, 7, 20}, {.kernel_h = 3, .kernel_w = 3, .stride = 2, .padding = 1}},
  };
  for (const auto& [shape, params] : pools) {
    const std::string name =
        shape.str() + " by " + std::to_string(params.kernel_h) + " x " + std::to_string(params.kernel_w);
    // Far apart, so that no difference makes another element the largest.
    Tensor x = Tensor::empty(shape);
    std::int64_t i = 0;
    for (float& value : x.data<float>()) value = static_cast<float>((37 * i++) % 251) * 0.25F;
    cases.push_back({"max_pool2d " + name,
                     {x},
                     [p = params](const auto& in) { return std::vector{max_pool2d(in[0], p)}; },
                     true,
                     1});
    cases.push_back({"avg_pool2d " + name,
                     {random_tensor(shape, name)},
                     [p = params](const auto& in) { return std::vector{avg_pool2d(in[0], p)}; },
                     true,
                     1});
  }
  return cases;
}

inline std::vector<OpCase> batch_norm_cases() {
  std::vector<OpCase> cases;
  for (const Shape& shape : {Shape{3, 5, 4, 6}, Shape{2, 3, 5, 19}, Shape{7, 16}, Shape{301, 35}})
    for (const bool training : {true, false})
      for (const Activation activation : {Activation::none, Activation::relu, Activation::relu6})
        for (const bool residual : {false, true}) {
          // Two kinks are too many for differences: the largest shape is compared between backends alone.
          if (activation == Activation::relu6 && shape.numel() < 3000) continue;
          const std::string name = "batch_norm " + shape.str() + (training ? " training" : " evaluation") +
                                   (activation == Activation::none   ? ""
                                    : activation == Activation::relu ? " relu"
                                                                     : " relu6") +
                                   (residual ? " residual" : "");
          const Shape channels{shape[-1]};
          std::vector<Tensor> inputs = {random_tensor(shape, name) * 2.0F + 3.0F};
          if (residual) inputs.push_back(random_tensor(shape, name + " residual"));
          inputs.push_back((random_tensor(channels, name + " gamma") + 1.5F) *
                           (activation == Activation::relu6 ? 2.0F : 1.0F));
          inputs.push_back(random_tensor(channels, name + " beta"));
          cases.push_back(
              {name, inputs,
               [=](const auto& in) {
                 const std::size_t first = residual ? 2 : 1;  // gamma
                 const Device device = in[0].device();
                 BatchNormStatistics running{
                     .mean = random_tensor(channels, "running mean").to(device),
                     .variance = (square(random_tensor(channels, "running variance")) + 0.5F).to(device),
                     .batches = beside<std::int64_t>(in[0], {41}, {})};
                 const Tensor y =
                     batch_norm({.parts = {in[0]},
                                 .gamma = in[first],
                                 .beta = in[first + 1],
                                 .residual = residual ? in[1] : Tensor()},
                                running, {.training = training, .activation = activation, .momentum = 0.2F});
                 return std::vector{y, running.mean, running.variance, running.batches};
               },
               true, residual ? 2U : 1U, 2e-3});
        }
  return cases;
}

/// Parts of several channels each, one of which an earlier normalisation has met, and two gradients that add
/// up.
inline std::vector<OpCase> batch_norm_parts_cases() {
  std::vector<OpCase> cases;
  for (const std::vector<std::int64_t>& counts : {std::vector<std::int64_t>{3, 5, 2}, {8, 16, 24}, {16, 32}})
    for (const bool training : {true, false})
      for (const Activation activation : {Activation::none, Activation::relu}) {
        std::vector<Tensor> inputs;
        std::int64_t channels = 0;
        for (const std::int64_t count : counts) {
          inputs.push_back(random_tensor({3, 2, count}, "part" + std::to_string(channels)) * 2.0F + 3.0F);
          channels += count;
        }
        const std::size_t parts = counts.size();
        const std::string name = "batch_norm of " + std::to_string(parts) + " parts, " +
                                 std::to_string(channels) + " channels" +
                                 (training ? " training" : " evaluation") +
                                 (activation == Activation::none   ? ""
                                  : activation == Activation::relu ? " relu"
                                                                   : " relu6");
        inputs.push_back(random_tensor({channels}, name + " gamma") + 1.5F);
        inputs.push_back(random_tensor({channels}, name + " beta"));
        cases.push_back(
            {name, inputs,
             [=](const auto& in) {
               const auto normalise = [&, device = in[0].device()](const std::vector<BatchNormPart>& x,
                                                                   std::int64_t first, std::int64_t count) {
                 const Shape shape{count};
                 BatchNormStatistics running{
                     .mean = random_tensor(shape, "running mean").to(device),
                     .variance = (square(random_tensor(shape, "running variance")) + 0.5F).to(device),
                     .batches = beside<std::int64_t>(in[0], {41}, {})};
                 const Tensor y =
                     batch_norm({.parts = x,
                                 .gamma = slice_channels(in[parts], first, count),
                                 .beta = slice_channels(in[parts + 1], first, count),
                                 .residual = {}},
                                running, {.training = training, .activation = activation, .momentum = 0.2F});
                 return std::vector{y, running.mean, running.variance, running.batches};
               };
               std::vector<BatchNormPart> x(in.begin(), in.begin() + static_cast<std::ptrdiff_t>(parts));
               const Tensor last = normalise({x.back()}, channels - counts.back(), counts.back())[0];
               std::vector<Tensor> results = normalise(x, 0, channels);
               results[0] = concat({results[0], last});
               return results;
             },
             true, parts, 2e-3});
      }
  return cases;
}

}  // namespace generous::testing
