// Convolution and pooling: values against naive loops in double, gradients by differences, odd shapes and
// strides.

#include "tests/core/gradcheck.h"

namespace generous {
namespace {

using testing::check_gradients;
using testing::random_tensor;
using testing::relative_difference;

struct ConvCase {
  Shape x;       ///< {N, H, W, C}
  Shape weight;  ///< {K, R, S, C/groups}
  Conv2dParams params;
  bool bias;
};

// Every extent differs from every other wherever the case allows it.
const ConvCase conv_cases[] = {
    {{2, 5, 7, 3}, {4, 3, 3, 3}, {.stride = 1, .padding = 1}, true},
    {{3, 6, 5, 4}, {7, 3, 3, 4}, {.stride = 2, .padding = 1}, false},
    {{2, 7, 8, 5}, {3, 1, 1, 5}, {.stride = 1}, true},
    {{2, 7, 8, 5}, {3, 1, 1, 5}, {.stride = 2}, false},
    {{2, 8, 6, 6}, {4, 3, 3, 3}, {.stride = 1, .padding = 1, .groups = 2}, true},
    {{2, 7, 5, 6}, {9, 3, 3, 2}, {.stride = 2, .padding = 1, .groups = 3}, false},
    {{2, 6, 5, 8}, {8, 3, 3, 1}, {.stride = 1, .padding = 1, .groups = 8}, false},
    {{2, 6, 9, 3}, {5, 5, 5, 3}, {.stride = 3, .padding = 2}, true},
    {{2, 9, 6, 3}, {5, 3, 2, 3}, {.stride = 2, .padding = 1}, true},
    {{1, 4, 4, 2}, {3, 1, 1, 2}, {.stride = 1, .padding = 1}, true},
};

// Sizes of real layers, where the fast paths of oneDNN are: values only.
const ConvCase layer_cases[] = {
    {{3, 32, 32, 3}, {16, 3, 3, 3}, {.stride = 1, .padding = 1}, false},
    {{3, 32, 32, 16}, {16, 3, 3, 16}, {.stride = 1, .padding = 1}, false},
    {{2, 32, 32, 16}, {32, 1, 1, 16}, {.stride = 2}, false},
    {{2, 16, 16, 32}, {64, 3, 3, 32}, {.stride = 2, .padding = 1}, true},
    {{3, 8, 8, 64}, {64, 3, 3, 64}, {.stride = 1, .padding = 1}, false},
    {{2, 4, 4, 256}, {512, 3, 3, 256}, {.stride = 1, .padding = 1}, false},
    {{2, 16, 16, 64}, {64, 3, 3, 8}, {.stride = 1, .padding = 1, .groups = 8}, false},
    // Depthwise: channels of whole vectors, of overlapping ones and of none, odd and even extents.
    {{2, 9, 13, 58}, {58, 3, 3, 1}, {.stride = 1, .padding = 1, .groups = 58}, true},
    {{3, 8, 11, 35}, {35, 3, 3, 1}, {.stride = 2, .padding = 1, .groups = 35}, true},
    {{2, 11, 10, 24}, {24, 3, 3, 1}, {.stride = 2, .padding = 1, .groups = 24}, false},
    {{2, 6, 9, 64}, {64, 3, 3, 1}, {.stride = 1, .padding = 1, .groups = 64}, false},
    {{3, 1, 8, 16}, {16, 3, 3, 1}, {.stride = 1, .padding = 1, .groups = 16}, false},
    {{2, 7, 12, 5}, {5, 3, 3, 1}, {.stride = 1, .padding = 1, .groups = 5}, true},
    {{2, 1, 1, 48}, {48, 3, 3, 1}, {.stride = 2, .padding = 1, .groups = 48}, false},
    // Winograd's tiles: images that are no multiple of four, channels of one, two, four and more vectors.
    {{2, 13, 9, 48}, {80, 3, 3, 48}, {.stride = 1, .padding = 1}, true},
    {{5, 7, 10, 16}, {32, 3, 3, 16}, {.stride = 1, .padding = 1}, false},
    {{3, 5, 6, 128}, {16, 3, 3, 128}, {.stride = 1, .padding = 1}, true},
    {{2, 1, 3, 32}, {112, 3, 3, 32}, {.stride = 1, .padding = 1}, false},
    {{2, 5, 7, 512}, {272, 3, 3, 512}, {.stride = 1, .padding = 1}, true},  // a filter larger than the caches
    {{2, 224, 220, 15}, {37, 1, 1, 15}, {.stride = 2}, false},  // where oneDNN writes out of bounds
};

// Too large for naive loops: more tiles than one part has, and an output that is written past the caches.
const ConvCase large_cases[] = {
    {{13, 13, 15, 512}, {272, 3, 3, 512}, {.stride = 1, .padding = 1}, false},
    {{2, 61, 70, 16}, {128, 3, 3, 16}, {.stride = 1, .padding = 1}, false},
    {{33, 31, 37, 32}, {32, 3, 3, 1}, {.stride = 1, .padding = 1, .groups = 32}, false},
    {{5, 40, 33, 100}, {100, 3, 3, 1}, {.stride = 1, .padding = 1, .groups = 100}, false},
    {{9, 62, 61, 64}, {64, 3, 3, 1}, {.stride = 2, .padding = 1, .groups = 64}, false},
    // Narrow groups, pixels enough for our own products: groups that shrink and groups that grow.
    {{7, 27, 25, 66}, {45, 1, 1, 22}, {.stride = 1, .groups = 3}, true},
    {{5, 31, 29, 12}, {120, 1, 1, 4}, {.stride = 1, .groups = 3}, false},
};

std::vector<double> naive_conv(const Tensor& x, const Tensor& weight, const Tensor& bias,
                               const Conv2dParams& p, const Shape& out) {
  const std::span<const float> xs = x.data<float>();
  const std::span<const float> weights = weight.data<float>();
  const std::int64_t height = x.size(1), width = x.size(2), channels = x.size(3);
  const std::int64_t rows = weight.size(1), columns = weight.size(2), group_c = weight.size(3);
  const std::int64_t group_k = weight.size(0) / p.groups;
  std::vector<double> y;
  for (std::int64_t n = 0; n < out[0]; ++n)
    for (std::int64_t i = 0; i < out[1]; ++i)
      for (std::int64_t j = 0; j < out[2]; ++j)
        for (std::int64_t k = 0; k < out[3]; ++k) {
          double total =
              bias.defined() ? static_cast<double>(bias.data<float>()[static_cast<std::size_t>(k)]) : 0.0;
          for (std::int64_t r = 0; r < rows; ++r)
            for (std::int64_t s = 0; s < columns; ++s) {
              const std::int64_t h = i * p.stride + r - p.padding;
              const std::int64_t w = j * p.stride + s - p.padding;
              if (h < 0 || h >= height || w < 0 || w >= width) continue;
              const std::int64_t pixel = ((n * height + h) * width + w) * channels + k / group_k * group_c;
              const std::int64_t filter = ((k * rows + r) * columns + s) * group_c;
              for (std::int64_t c = 0; c < group_c; ++c)
                total += static_cast<double>(xs[static_cast<std::size_t>(pixel + c)]) *
                         static_cast<double>(weights[static_cast<std::size_t>(filter + c)]);
            }
          y.push_back(total);
        }
  return y;
}

TEST_CASE("convolution equals naive loops") {
  on_every_cpu_implementation([] {
    std::vector<ConvCase> cases(std::begin(conv_cases), std::end(conv_cases));
    cases.insert(cases.end(), std::begin(layer_cases), std::end(layer_cases));
    for (const ConvCase& test : cases) {
      const std::string name = test.x.str() + " * " + test.weight.str();
      CAPTURE(name);
      const Tensor x = random_tensor(test.x, "x" + name);
      const Tensor weight = random_tensor(test.weight, "w" + name);
      const Tensor bias = test.bias ? random_tensor({test.weight[0]}, "b" + name) : Tensor();
      const Tensor y = conv2d(x, weight, bias, test.params);
      CHECK(relative_difference(y, naive_conv(x, weight, bias, test.params, y.shape())) < 2e-6);
    }
  });
}

TEST_CASE("the gradients of a convolution are its adjoints, at the sizes of real layers") {
  // For y = conv(x, w), linear in each: <dy, conv(v, w)> = <dx, v> for any v, and <dy, conv(x, u)> = <dw, u>.
  on_every_cpu_implementation([] {
    std::vector<ConvCase> cases(std::begin(layer_cases), std::end(layer_cases));
    cases.insert(cases.end(), std::begin(large_cases), std::end(large_cases));
    for (const ConvCase& test : cases) {
      const std::string name = test.x.str() + " * " + test.weight.str();
      CAPTURE(name);
      Tensor x = random_tensor(test.x, "x" + name).require_grad();
      Tensor weight = random_tensor(test.weight, "w" + name).require_grad();
      const Tensor y = conv2d(x, weight, {}, test.params);
      const Tensor dy = random_tensor(y.shape(), "dy" + name);
      backward(y, dy);
      const NoGrad guard;
      const auto size = [](const Tensor& a, const Tensor& b) {
        return std::sqrt(testing::weighted_sum(a, a) * testing::weighted_sum(b, b));
      };
      const Tensor v = random_tensor(x.shape(), "v" + name);
      const Tensor along_v = conv2d(v, weight, {}, test.params);
      CHECK(std::abs(testing::weighted_sum(dy, along_v) - testing::weighted_sum(x.grad(), v)) <
            2e-7 * size(dy, along_v));
      const Tensor u = random_tensor(weight.shape(), "u" + name);
      const Tensor along_u = conv2d(x, u, {}, test.params);
      CHECK(std::abs(testing::weighted_sum(dy, along_u) - testing::weighted_sum(weight.grad(), u)) <
            2e-7 * size(dy, along_u));
    }
  });
}

TEST_CASE("convolution gradients, element by element") {
  on_every_cpu_implementation([] {
    for (const ConvCase& test : conv_cases) {
      const std::string name = test.x.str() + " * " + test.weight.str();
      std::vector<Tensor> inputs;
      inputs.push_back(random_tensor(test.x, "x" + name));
      inputs.push_back(random_tensor(test.weight, "w" + name));
      if (test.bias) inputs.push_back(random_tensor({test.weight[0]}, "b" + name));
      check_gradients(
          name,
          [&](const auto& in) { return conv2d(in[0], in[1], in.size() > 2 ? in[2] : Tensor(), test.params); },
          inputs, {.step = 0.1});
    }
  });
}

TEST_CASE("convolution refuses what does not fit") {
  const Tensor x = random_tensor({2, 5, 7, 6}, "x");
  const auto refuses = [&](const Shape& weight, const Conv2dParams& params, const char* what) {
    CHECK_THROWS_WITH_AS(conv2d(x, random_tensor(weight, "w"), {}, params), doctest::Contains(what), Error);
  };
  refuses({4, 3, 3, 5}, {}, "input channels");
  refuses({4, 3, 3, 2}, {.groups = 3}, "multiple of the groups");
  refuses({4, 7, 3, 6}, {}, "larger than the padded image");
  refuses({4, 3, 3, 6}, {.stride = 0}, "stride");
}

/// Values that are all different, so that a maximum is never close to a tie.
Tensor shuffled(const Shape& shape) {
  Tensor x = Tensor::empty(shape);
  const auto count = static_cast<std::uint64_t>(shape.numel());
  for (std::uint64_t i = 0; i < count; ++i)
    x.data<float>()[i] = static_cast<float>((i * 7919U) % count) * 0.1F - static_cast<float>(count) * 0.05F;
  return x;
}

const std::pair<Shape, Pool2dParams> pool_cases[] = {
    {{2, 6, 8, 3}, {.kernel_h = 2, .kernel_w = 2, .stride = 2}},
    {{2, 7, 5, 3}, {.kernel_h = 2, .kernel_w = 2, .stride = 2}},
    {{3, 7, 9, 5}, {.kernel_h = 3, .kernel_w = 3, .stride = 2, .padding = 1}},
    {{2, 5, 4, 17}, {.kernel_h = 3, .kernel_w = 2, .stride = 1, .padding = 1}},
    {{2, 7, 5, 6}, {.kernel_h = 7, .kernel_w = 5, .stride = 1}},
};

TEST_CASE("pooling equals naive loops and has the right gradients") {
  on_every_cpu_implementation([] {
    for (const auto& test : pool_cases) {
      const auto& [shape, params] = test;
      const std::string name = shape.str();
      CAPTURE(name);
      const Tensor x = shuffled(shape);
      const Tensor largest = max_pool2d(x, params);
      const Tensor average = avg_pool2d(x, params);
      std::vector<double> max_wanted;
      std::vector<double> avg_wanted;
      for (std::int64_t n = 0; n < largest.size(0); ++n)
        for (std::int64_t p = 0; p < largest.size(1); ++p)
          for (std::int64_t q = 0; q < largest.size(2); ++q)
            for (std::int64_t c = 0; c < largest.size(3); ++c) {
              double best = -1e9;
              double total = 0.0;
              for (std::int64_t r = 0; r < params.kernel_h; ++r)
                for (std::int64_t s = 0; s < params.kernel_w; ++s) {
                  const std::int64_t h = p * params.stride + r - params.padding;
                  const std::int64_t w = q * params.stride + s - params.padding;
                  if (h < 0 || h >= shape[1] || w < 0 || w >= shape[2]) continue;
                  const auto i = static_cast<std::size_t>(((n * shape[1] + h) * shape[2] + w) * shape[3] + c);
                  best = std::max(best, static_cast<double>(x.data<float>()[i]));
                  total += static_cast<double>(x.data<float>()[i]);
                }
              max_wanted.push_back(best);
              avg_wanted.push_back(total / static_cast<double>(params.kernel_h * params.kernel_w));
            }
      CHECK(relative_difference(largest, max_wanted) == 0.0);
      CHECK(relative_difference(average, avg_wanted) < 1e-6);
      check_gradients("max_pool2d", [&](const auto& in) { return max_pool2d(in[0], test.second); }, {x});
      check_gradients("avg_pool2d", [&](const auto& in) { return avg_pool2d(in[0], test.second); }, {x});
    }
    check_gradients("global_avg_pool", [](const auto& in) { return global_avg_pool(in[0]); },
                    {random_tensor({2, 5, 3, 4}, "global")});
    CHECK(global_avg_pool(random_tensor({2, 5, 3, 4}, "global")).shape() == Shape{2, 4});
  });
}

TEST_CASE("of equal values in a window the first receives the gradient") {
  on_every_cpu_implementation([] {
    Tensor x = Tensor::full({1, 2, 2, 1}, 3.0F).require_grad();
    backward(sum(max_pool2d(x, {})));
    CHECK(std::vector<float>(x.grad().data<float>().begin(), x.grad().data<float>().end()) ==
          std::vector<float>{1, 0, 0, 0});
  });
}

}  // namespace
}  // namespace generous
