// One table of cases for every op. It drives the gradient checks (op_cases_test.cpp) and the parity of
// backends (cuda_parity_test.cpp). The extents of a case differ from each other as far as the op allows.
#pragma once

#include "tests/core/image_op_cases.h"

namespace generous::testing {

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

/// Every op, with every variant that a backend treats differently.
inline std::vector<OpCase> op_cases() {
  std::vector<OpCase> all;
  for (auto family : {elementwise_cases, reduction_cases, channel_cases, softmax_cases, dense_cases,
                      image_cases, batch_norm_cases, batch_norm_parts_cases})
    for (OpCase& test : family()) all.push_back(std::move(test));
  return all;
}

}  // namespace generous::testing
