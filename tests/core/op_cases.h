// One table of cases for every op. It drives the gradient checks (op_cases_test.cpp) and the parity of
// backends (cuda_parity_test.cpp). The extents of a case differ from each other as far as the op allows.
#pragma once

#include "tests/core/gradcheck.h"

namespace generous::testing {

struct OpCase {
  std::string name;
  std::vector<Tensor> inputs;  ///< f32, on the host
  /// On the device of its inputs. Labels and counters it makes itself, by `beside`.
  std::function<std::vector<Tensor>(const std::vector<Tensor>& inputs)> op;
  bool differentiable = true;  ///< the first result, by every input
  std::size_t bf16 = 0;        ///< this many inputs, the first ones, may be bf16; the op then follows them
  double step = 1e-2;          ///< of the differences
  double difference = 1e-5;    ///< allowed between backends in f32, relative to the largest element
};

/// `values` on the device of `like`.
template <class T>
Tensor beside(const Tensor& like, const std::vector<T>& values, const Shape& shape) {
  return Tensor::from(values, shape).to(like.device());
}

/// Away from the kinks of relu and relu6.
inline Tensor off_kinks(const Shape& shape) {
  Tensor x = Tensor::empty(shape);
  std::int64_t i = 0;
  for (float& value : x.data<float>()) value = -2.5F + 0.53F * static_cast<float>(i++ % 19);
  return x;
}

inline Tensor positive(const Shape& shape, const std::string& name) {
  return (exp(random_tensor(shape, name) * 0.5F) + 0.5F).detach();
}

inline std::vector<OpCase> elementwise_cases() {
  const Shape shape{3, 7, 5, 19};
  const Tensor a = random_tensor(shape, "a");
  std::vector<OpCase> cases = {
      {"relu", {off_kinks(shape)}, [](const auto& in) { return std::vector{relu(in[0])}; }, true, 1},
      {"relu6", {off_kinks(shape) * 2.0F}, [](const auto& in) { return std::vector{relu6(in[0])}; }, true, 1},
      {"exp", {a}, [](const auto& in) { return std::vector{exp(in[0])}; }, true, 1},
      {"log", {positive(shape, "log")}, [](const auto& in) { return std::vector{log(in[0])}; }, true, 1},
      {"sqrt", {positive(shape, "sqrt")}, [](const auto& in) { return std::vector{sqrt(in[0])}; }, true, 1},
      {"square", {a}, [](const auto& in) { return std::vector{square(in[0])}; }, true, 1},
      {"sigmoid", {a}, [](const auto& in) { return std::vector{sigmoid(in[0])}; }, true, 1},
      {"softplus", {a * 9.0F}, [](const auto& in) { return std::vector{softplus(in[0])}; }, true, 1},
      {"smooth_l1",
       {off_kinks(shape) * 0.7F},
       [](const auto& in) { return std::vector{smooth_l1(in[0])}; },
       true,
       1},
      {"abs", {off_kinks(shape)}, [](const auto& in) { return std::vector{abs(in[0])}; }, true, 1},
      {"step", {a}, [](const auto& in) { return std::vector{step(in[0])}; }, false, 1},
      {"scale and shift", {a}, [](const auto& in) { return std::vector{0.7F * in[0] - 0.3F}; }, true, 1},
      {"used twice", {a}, [](const auto& in) { return std::vector{in[0] * in[0] + in[0]}; }, true, 1},
      {"dropout",
       {a},
       [](const auto& in) {
         const Tensor step = beside<std::int64_t>(in[0], {5}, {});
         return std::vector{dropout(in[0], {.p = 0.3F, .key = 0x123456789ABCULL, .step = step})};
       },
       true,
       1},
      {"dropout without a step",
       {random_tensor({1001}, "dropout")},
       [](const auto& in) { return std::vector{dropout(in[0], {.p = 0.6F, .key = 9})}; },
       true,
       1},
      {"cast to bf16 and back",
       {off_kinks(shape)},
       [](const auto& in) { return std::vector{cast(cast(in[0], DType::bf16), DType::f32)}; },
       false},
      {"cast from u8",
       {a},
       [](const auto& in) {
         return std::vector{cast(beside<std::uint8_t>(in[0], {0, 1, 127, 128, 255}, {5}), DType::f32)};
       },
       false},
  };
  struct BinaryCase {
    const char* name;
    Tensor (*op)(const Tensor&, const Tensor&);
  };
  const BinaryCase binaries[] = {
      {"add", operator+ }, {"subtract", operator- }, {"multiply", operator* }, {"divide", operator/ } };
  const std::pair<Shape, Shape> shapes[] = {{shape, shape},   {{4, 3}, {4, 1}}, {{4, 1}, {1, 3}},
                                            {{3}, {4, 3}},    {{}, {2, 3}},     {{2, 1, 5}, {3, 1}},
                                            {{17, 70}, {70}}, {{1030}, {1030}}};
  for (const BinaryCase& binary : binaries)
    for (const auto& [left, right] : shapes) {
      const std::string name = std::string(binary.name) + " " + left.str() + " " + right.str();
      cases.push_back({name,
                       {random_tensor(left, name), positive(right, name)},
                       [op = binary.op](const auto& in) { return std::vector{op(in[0], in[1])}; },
                       true,
                       left == right ? 2U : 0U});
    }
  return cases;
}

inline std::vector<OpCase> reduction_cases() {
  std::vector<OpCase> cases;
  const std::pair<Shape, Shape> sums[] = {{{4, 7}, {}},
                                          {{4, 7}, {7}},
                                          {{4, 7}, {4, 1}},
                                          {{2, 3, 5, 6}, {6}},
                                          {{2, 3, 5, 6}, {2, 1, 1, 6}},
                                          {{2, 3, 5, 6}, {3, 1, 6}},
                                          {{2, 3, 5, 6}, {2, 3, 1, 1}},
                                          {{2, 3, 5, 6}, {3, 5, 1}},
                                          {{40, 13, 7, 11}, {40, 1, 7, 1}},
                                          {{40, 13, 7, 11}, {13, 1, 11}},
                                          {{301, 33}, {33}},
                                          {{3, 700}, {3, 1}},
                                          {{1, 4099}, {}},
                                          {{2, 9, 11, 20}, {20}},
                                          {{5, 4}, {5, 4}}};
  for (const auto& [from, to] : sums) {
    const std::string name = "sum_to " + from.str() + " " + to.str();
    cases.push_back({name,
                     {random_tensor(from, name)},
                     [target = to](const auto& in) { return std::vector{square(sum_to(in[0], target))}; },
                     true,
                     1});
    cases.push_back(
        {"broadcast " + to.str() + " " + from.str(),
         {random_tensor(to, name + " broadcast")},
         [target = from](const auto& in) { return std::vector{square(broadcast_to(in[0], target))}; },
         true,
         1});
  }
  const Tensor rows = random_tensor({6, 11}, "rows");
  cases.push_back({"mean", {rows}, [](const auto& in) { return std::vector{mean(in[0])}; }, true, 1});
  cases.push_back(
      {"mean_rows", {rows}, [](const auto& in) { return std::vector{mean_rows(in[0])}; }, true, 1});
  cases.push_back({"std_rows", {rows}, [](const auto& in) { return std::vector{std_rows(in[0])}; }});
  cases.push_back({"reshape", {rows}, [](const auto& in) {
                     return std::vector{square(reshape(in[0], {3, 22}))};
                   }});
  cases.push_back({"sum of channels in bf16",
                   {random_tensor({2, 9, 11, 20}, "channels")},
                   [](const auto& in) { return std::vector{global_avg_pool(in[0])}; },
                   true,
                   1});
  return cases;
}

inline std::vector<OpCase> channel_cases() {
  std::vector<OpCase> cases;
  const auto add = [&cases](const std::string& name, std::vector<Tensor> inputs, auto op) {
    const std::size_t all = inputs.size();
    cases.push_back({name, std::move(inputs), op, true, all});
  };
  // Runs of whole vectors and others, of both dtypes.
  for (const std::vector<std::int64_t>& counts :
       {std::vector<std::int64_t>{5, 1, 4}, {24, 8}, {4, 20, 16}, {7}}) {
    std::vector<Tensor> parts;
    std::int64_t channels = 0;
    for (const std::int64_t count : counts) {
      parts.push_back(random_tensor({3, 2, count}, "concat" + std::to_string(channels)));
      channels += count;
    }
    const std::string name = " of " + std::to_string(channels);
    add("concat" + name, parts, [](const auto& in) { return std::vector{square(concat(in))}; });
    add("split_channels" + name, {random_tensor({3, 2, channels}, "split")}, [=](const auto& in) {
      std::vector<Tensor> results = split_channels(in[0], counts);
      std::vector<Tensor> reversed(results.rbegin(), results.rend());
      reversed[0] = square(reversed[0]);
      results.insert(results.begin(), concat(reversed));
      return results;
    });
  }
  const Tensor x = random_tensor({3, 2, 4, 12}, "channels");
  for (const auto& [first, count] : {std::pair{0, 5}, {4, 8}, {3, 2}, {0, 12}, {4, 4}})
    add("slice_channels from " + std::to_string(first), {x}, [first = first, count = count](const auto& in) {
      return std::vector{square(slice_channels(in[0], first, count))};
    });
  add("split_channels with a part unused", {x}, [](const auto& in) {
    const std::vector<Tensor> parts = split_channels(in[0], {3, 4, 5});
    return std::vector{concat({parts[2], parts[0]})};
  });
  for (const std::int64_t groups : {1, 2, 3, 4, 6, 12})
    add("channel_shuffle by " + std::to_string(groups), {x},
        [=](const auto& in) { return std::vector{square(channel_shuffle(in[0], groups))}; });
  for (const std::int64_t half : {6, 58}) {
    const Shape shape{2, 3, half};
    add("shuffled_halves of " + std::to_string(half),
        {random_tensor(shape, "left"), random_tensor(shape, "right")}, [](const auto& in) {
          const auto [first, second] = shuffled_halves(in[0], in[1]);
          return std::vector{square(first) + second, first, second};
        });
  }
  return cases;
}

inline std::vector<OpCase> softmax_cases() {
  std::vector<OpCase> cases;
  for (const std::int64_t classes : {9, 100, 1003}) {
    const Shape shape{classes == 9 ? 37 : 3, classes};
    const Tensor logits = random_tensor(shape, "logits") * 3.0F;
    std::vector<std::int64_t> labels;
    for (std::int64_t row = 0; row < shape[0]; ++row) labels.push_back((5 * row + 2) % classes);
    labels.back() = classes - 1;
    const std::string name = " of " + std::to_string(classes);
    cases.push_back(
        {"log_softmax" + name, {logits}, [](const auto& in) { return std::vector{log_softmax(in[0])}; }});
    cases.push_back({"cross_entropy" + name, {logits}, [=](const auto& in) {
                       return std::vector{cross_entropy(in[0], beside(in[0], labels, {in[0].size(0)}))};
                     }});
    cases.push_back({"one_hot and count_top_k" + name,
                     {logits},
                     [=](const auto& in) {
                       const Tensor wanted = beside(in[0], labels, {in[0].size(0)});
                       return std::vector{one_hot(wanted, classes), count_top_k(in[0], wanted, 1),
                                          count_top_k(in[0], wanted, 5)};
                     },
                     false});
  }
  cases.push_back({"log_softmax with a class masked out",
                   {Tensor::from(std::vector<float>{1e4F, 1e4F, -1e4F, 9e3F, -990.0F, 3.0F}, {2, 3})},
                   [](const auto& in) { return std::vector{log_softmax(in[0])}; },
                   false});
  // Far apart, so that no difference makes another element the largest; 70 columns are more than a warp.
  for (const Shape& shape : {Shape{7, 23}, Shape{3, 70}}) {
    Tensor x = Tensor::empty(shape);
    std::int64_t i = 0;
    for (float& value : x.data<float>()) value = static_cast<float>((37 * i++) % 251) * 0.25F - 30.0F;
    cases.push_back({"max_rows " + shape.str(), {x}, [](const auto& in) {
                       return std::vector{square(max_rows(in[0])), argmax_rows(in[0])};
                     }});
  }
  cases.push_back(
      {"argmax_rows with ties and NaN",
       {Tensor::from(std::vector<float>{3, 2, 3, 5, 6, NAN, NAN, 7, NAN, -INFINITY, -INFINITY, -INFINITY},
                     {4, 3})},
       [](const auto& in) { return std::vector{argmax_rows(in[0])}; },
       false});
  cases.push_back({"count_top_k with ties and NaN",
                   {Tensor::from(std::vector<float>{3, 2, 2, 0, 5, 6, NAN, 1, 0, 1, NAN, 7}, {4, 3})},
                   [](const auto& in) {
                     const Tensor labels = beside<std::int64_t>(in[0], {2, 0, 1, 0}, {4});
                     return std::vector{count_top_k(in[0], labels, 1), count_top_k(in[0], labels, 2),
                                        count_top_k(in[0], labels, 3)};
                   },
                   false});
  return cases;
}

inline std::vector<OpCase> dense_cases() {
  std::vector<OpCase> cases;
  for (const bool transpose_a : {false, true})
    for (const bool transpose_b : {false, true}) {
      const Shape a = transpose_a ? Shape{7, 5} : Shape{5, 7};
      const Shape b = transpose_b ? Shape{11, 7} : Shape{7, 11};
      const std::string name = "matmul " + a.str() + " " + b.str();
      cases.push_back({name, {random_tensor(a, name), random_tensor(b, name + "b")}, [=](const auto& in) {
                         return std::vector{matmul(in[0], in[1], transpose_a, transpose_b)};
                       }});
    }
  for (const bool transpose_a : {false, true})
    for (const bool transpose_b : {false, true}) {
      const Shape a = transpose_a ? Shape{3, 7, 5} : Shape{3, 5, 7};
      const Shape b = transpose_b ? Shape{3, 11, 7} : Shape{3, 7, 11};
      const std::string name = "batched_matmul " + a.str() + " " + b.str();
      cases.push_back({name, {random_tensor(a, name), random_tensor(b, name + "b")}, [=](const auto& in) {
                         return std::vector{batched_matmul(in[0], in[1], transpose_a, transpose_b)};
                       }});
    }
  const Tensor rows = random_tensor({5, 9}, "rows");
  cases.push_back({"gather_rows {7}", {rows}, [](const auto& in) {
                     const Tensor indices = beside<std::int64_t>(in[0], {4, 0, 2, 2, 0, 1, 2}, {7});
                     return std::vector{square(gather_rows(in[0], indices))};
                   }});
  cases.push_back({"gather_rows {2, 3}", {rows}, [](const auto& in) {
                     const Tensor indices = beside<std::int64_t>(in[0], {1, 4, 1, 0, 1, 2}, {2, 3});
                     return std::vector{square(gather_rows(in[0], indices))};
                   }});
  const Tensor x = random_tensor({6, 13}, "linear x");
  const Tensor weight = random_tensor({4, 13}, "linear w");
  cases.push_back({"linear", {x, weight, random_tensor({4}, "linear b")}, [](const auto& in) {
                     return std::vector{linear(in[0], in[1], in[2])};
                   }});
  cases.push_back({"linear without bias", {x, weight}, [](const auto& in) {
                     return std::vector{linear(in[0], in[1], {})};
                   }});
  return cases;
}

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

/// Every op, with every variant that a backend treats differently.
inline std::vector<OpCase> op_cases() {
  std::vector<OpCase> all;
  for (auto family : {elementwise_cases, reduction_cases, channel_cases, softmax_cases, dense_cases,
                      image_cases, batch_norm_cases, batch_norm_parts_cases})
    for (OpCase& test : family()) all.push_back(std::move(test));
  return all;
}

}  // namespace generous::testing
