// The CUDA kernels of elementwise ops, sums, rows of logits, optimisers and
// augmentation where the table of op cases does not reach: ends of vectors,
// several passes, several tables, labels and samples that do not exist.

#include <cmath>
#include <cstring>
#include <numeric>

#include "core/backend.h"
#include "core/functors.h"
#include "core/placement.h"
#include "tests/core/gradcheck.h"
#include "tests/core/worst.h"

namespace generous {
namespace {

using testing::random_tensor;

Tensor in_dtype(const Tensor& x, DType dtype) {
  Tensor y = Tensor::empty(x.shape(), dtype);
  if (dtype == DType::f32)
    backend(Device::cpu).copy(x, y);
  else
    backend(Device::cpu).cast(x, y);
  return y;
}

Tensor readable(const Tensor& x) {
  const Tensor here = x.to(Device::cpu);
  if (here.dtype() == DType::f32) return here;
  Tensor y = Tensor::empty(here.shape());
  backend(Device::cpu).cast(here, y);
  return y;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  const Tensor left = a.to(Device::cpu);
  const Tensor right = b.to(Device::cpu);
  return left.bytes() == right.bytes() && std::memcmp(left.raw(), right.raw(), left.bytes()) == 0;
}

double difference(const Tensor& found, const Tensor& wanted, double least = 1e-30) {
  const Tensor a = readable(found);
  const Tensor b = readable(wanted);
  double worst = 0.0;
  double scale = least;
  for (std::size_t i = 0; i < static_cast<std::size_t>(a.numel()); ++i) {
    const double x = a.data<float>()[i];
    const double y = b.data<float>()[i];
    if (std::isnan(x) != std::isnan(y)) return 1e9;
    if (std::isnan(x)) continue;
    worst = testing::worse(worst, std::abs(x - y));
    scale = std::max(scale, std::abs(y));
  }
  return worst / scale;
}

double tolerance_of(DType dtype) { return dtype == DType::bf16 ? 1.0 / 128.0 : 1e-6; }

/// What `f(backend, inputs...)` gives on a device.
template <class F>
Tensor result_of(Device device, const Shape& shape, DType dtype, const std::vector<Tensor>& inputs, F&& f) {
  std::vector<Tensor> there;
  for (const Tensor& input : inputs) there.push_back(input.to(device));
  Tensor y = Tensor::empty(shape, dtype, device);
  f(backend(device), there, y);
  return y;
}

template <class F>
double gap(const Shape& shape, DType dtype, const std::vector<Tensor>& inputs, F&& f) {
  return difference(result_of(Device::cuda, shape, dtype, inputs, f),
                    result_of(Device::cpu, shape, dtype, inputs, f));
}

TEST_CASE("elementwise kernels reach every element, whole vectors or not") {
  for (const std::int64_t count : {0, 1, 3, 4, 7, 8, 9, 15, 1037, 5000})
    for (const DType dtype : {DType::f32, DType::bf16}) {
      CAPTURE(count);
      CAPTURE(name_of(dtype));
      const Shape shape{count};
      const auto random = [&](const std::string& name) {
        return in_dtype(random_tensor(shape, name), dtype);
      };
      Tensor positive = random_tensor(shape, "p");
      for (float& v : positive.data<float>()) v = std::abs(v) + 0.5F;
      const Tensor x = in_dtype(positive, dtype);
      const Tensor b = in_dtype(positive, dtype);
      for (const Unary op : {Unary::relu, Unary::relu6, Unary::exp, Unary::log, Unary::sqrt, Unary::square,
                             Unary::sigmoid, Unary::step}) {
        CHECK(gap(shape, dtype, {x}, [&](Backend& on, auto& in, Tensor& y) { on.unary(op, in[0], y); }) <=
              tolerance_of(dtype));
        CHECK(gap(shape, dtype, {x, random("y"), random("dy")}, [&](Backend& on, auto& in, Tensor& y) {
                on.unary_backward(op, in[0], in[1], in[2], y);
              }) <= tolerance_of(dtype));
      }
      for (const Binary op : {Binary::add, Binary::subtract, Binary::multiply, Binary::divide}) {
        CHECK(gap(shape, dtype, {random("a"), b}, [&](Backend& on, auto& in, Tensor& y) {
                on.binary(op, in[0], in[1], y);
              }) <= tolerance_of(dtype));
        CHECK(gap(shape, dtype, {random("a"), b, random("dy")}, [&](Backend& on, auto& in, Tensor& y) {
                Tensor none;
                on.binary_backward(op, in[0], in[1], in[2], y, none);
              }) <= tolerance_of(dtype));
        CHECK(gap(shape, dtype, {random("a"), b, random("dy")}, [&](Backend& on, auto& in, Tensor& y) {
                Tensor none;
                on.binary_backward(op, in[0], in[1], in[2], none, y);
              }) <= tolerance_of(dtype));
      }
      CHECK(gap(shape, dtype, {random("a")}, [&](Backend& on, auto& in, Tensor& y) {
              on.affine(in[0], 0.3F, -1.5F, y);
              on.affine(y, 2.0F, 0.5F, y);
              on.accumulate(in[0], y);
            }) <= tolerance_of(dtype));
      const std::vector<std::int64_t> steps{(std::int64_t{5} << 32) + 7};
      const auto drop = [&](Backend& on, auto& in, Tensor& y) {
        on.dropout(in[0], {.p = 0.3F, .key = 0x123456789abcdefULL, .step = in[1]}, y);
      };
      const Tensor step = Tensor::from(steps, Shape{});
      CHECK(same_bits(result_of(Device::cuda, shape, dtype, {x, step}, drop),
                      result_of(Device::cpu, shape, dtype, {x, step}, drop)));
      for (const DType to : {DType::f32, DType::bf16})
        if (to != dtype)
          CHECK(gap(shape, to, {x}, [](Backend& on, auto& in, Tensor& y) { on.cast(in[0], y); }) == 0.0);
      for (const DType to : {DType::f32, DType::bf16, DType::i64, DType::u8}) {
        const auto f = [](Backend& on, auto&, Tensor& y) { on.fill(y, 200.0); };
        CHECK(same_bits(result_of(Device::cuda, shape, to, {}, f), result_of(Device::cpu, shape, to, {}, f)));
      }
    }
  Tensor bytes = Tensor::empty({1001}, DType::u8);
  for (std::size_t i = 0; i < 1001; ++i) bytes.data<std::uint8_t>()[i] = static_cast<std::uint8_t>(i * 7);
  CHECK(gap({1001}, DType::f32, {bytes}, [](Backend& on, auto& in, Tensor& y) { on.cast(in[0], y); }) == 0.0);
  Tensor wrong = Tensor::empty({3}, DType::i64, Device::cuda);
  const Tensor one = Tensor::full({3}, 1.0F, Device::cuda);
  CHECK_THROWS_WITH_AS(backend(Device::cuda).cast(one, wrong), "cast: no conversion from f32 to i64", Error);
}

TEST_CASE("sums and broadcasts of every kind of shape pair") {
  struct Pair {
    Shape large, small;
  };
  const Pair pairs[] = {{{40000, 3}, {3}},
                        {{70000, 16}, {16}},  // hundreds of parts for the last block to add up
                        {{100000}, {}},
                        {{300000}, {1}},
                        {{5, 3000, 2}, {5, 1, 2}},
                        {{700, 1}, {}},
                        {{3, 5, 7, 11, 2}, {1, 5, 1, 11, 1}},
                        {{3, 5, 7, 11, 2}, {3, 1, 7, 1, 2}},
                        {{2, 3000, 1, 40}, {3000, 1, 1}},
                        {{128, 10}, {128, 1}},
                        {{3, 1000}, {3, 1}},
                        {{2, 8, 8, 520}, {2, 1, 1, 520}},
                        {{2, 8, 8, 1030}, {1030}},
                        {{0, 5}, {5}},
                        {{4, 0}, {4, 1}},
                        {{0, 5}, {1, 5}},
                        {{1, 1}, {}},
                        {{1, 7}, {7}},
                        {{9000, 4}, {9000, 1}},
                        {{2, 3}, {2, 3}},
                        {{30000, 2}, {2}},
                        {{9000, 2, 64}, {9000, 1, 64}},
                        {{600, 4099}, {4099}},
                        {{3, 4099}, {4099}}};
  for (const auto& [large, small] : pairs) {
    CAPTURE(large.str());
    CAPTURE(small.str());
    const Tensor x = random_tensor(large, "x");
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const double found = gap(small, DType::f32, {in_dtype(x, dtype)},
                               [](Backend& on, auto& in, Tensor& y) { on.sum_to(in[0], y); });
      CHECK(found <= 2e-6);
      const auto f = [](Backend& on, auto& in, Tensor& y) { on.sum_to(in[0], y); };
      CHECK(same_bits(result_of(Device::cuda, small, DType::f32, {in_dtype(x, dtype)}, f),
                      result_of(Device::cuda, small, DType::f32, {in_dtype(x, dtype)}, f)));
    }
    CHECK(gap(large, DType::f32, {random_tensor(small, "s")},
              [](Backend& on, auto& in, Tensor& y) { on.broadcast(in[0], y); }) == 0.0);
  }
}

TEST_CASE("rows of logits of any length") {
  for (const std::int64_t rows : {1, 5, 301})
    for (const std::int64_t classes : {1, 2, 31, 33, 1000}) {
      CAPTURE(rows);
      CAPTURE(classes);
      const Shape shape{rows, classes};
      Tensor x = random_tensor(shape, "x");
      for (float& v : x.data<float>()) v *= 8.0F;
      std::vector<std::int64_t> l;
      for (std::int64_t r = 0; r < rows; ++r) l.push_back(r * 7 % classes);
      const Tensor labels = Tensor::from(l, {rows});
      CHECK(gap(shape, DType::f32, {x}, [](Backend& on, auto& in, Tensor& y) { on.log_softmax(in[0], y); }) <=
            1e-6);
      CHECK(gap(shape, DType::f32, {x, random_tensor(shape, "d")}, [](Backend& on, auto& in, Tensor& y) {
              Tensor z = Tensor::empty(y.shape(), DType::f32, y.device());
              on.log_softmax(in[0], z);
              on.log_softmax_backward(z, in[1], y);
            }) <= 2e-6);
      CHECK(gap(shape, DType::f32, {x, labels}, [](Backend& on, auto& in, Tensor& y) {
              Tensor loss = Tensor::empty({}, DType::f32, y.device());
              on.cross_entropy(in[0], in[1], y, loss);
            }) <= 1e-6);
      CHECK(gap({}, DType::f32, {x, labels}, [](Backend& on, auto& in, Tensor& y) {
              Tensor p = Tensor::empty(in[0].shape(), DType::f32, y.device());
              on.cross_entropy(in[0], in[1], p, y);
            }) <= 1e-6);
      CHECK(
          gap(shape, DType::f32, {x, labels, Tensor::full({}, 0.37F)}, [](Backend& on, auto& in, Tensor& y) {
            on.cross_entropy_backward(in[0], in[1], in[2], y);
          }) <= 1e-6);
      CHECK(gap(shape, DType::f32, {labels},
                [](Backend& on, auto& in, Tensor& y) { on.one_hot(in[0], y); }) == 0.0);
      for (const std::int64_t k : {1, 5})
        CHECK(gap({}, DType::f32, {x, labels},
                  [&](Backend& on, auto& in, Tensor& y) { y = on.count_top_k(in[0], in[1], k); }) == 0.0);
    }
}

TEST_CASE("labels that are no class give NaN where they matter and nowhere else") {
  for (const std::int64_t bad :
       {std::int64_t{-1}, std::int64_t{5}, std::int64_t{1} << 40, -(std::int64_t{1} << 62)}) {
    Backend& on = backend(Device::cuda);
    const Tensor x = random_tensor({3, 5}, "x").to(Device::cuda);
    const Tensor labels = Tensor::from(std::vector<std::int64_t>{2, bad, 4}, {3}).to(Device::cuda);
    Tensor p = Tensor::empty({3, 5}, DType::f32, Device::cuda);
    Tensor hot = Tensor::empty({3, 5}, DType::f32, Device::cuda);
    Tensor loss = Tensor::empty({}, DType::f32, Device::cuda);
    on.cross_entropy(x, labels, p, loss);
    on.one_hot(labels, hot);
    const Tensor count = on.count_top_k(x, labels, 2);
    CHECK(std::isnan(loss.item()));
    CHECK(std::isnan(count.item()));
    for (const Tensor& rows : {p.to(Device::cpu), hot.to(Device::cpu)})
      for (std::size_t i = 0; i < 15; ++i) CHECK(std::isnan(rows.data<float>()[i]) == (i / 5 == 1));
    Tensor dx = Tensor::empty({3, 5}, DType::f32, Device::cuda);
    on.cross_entropy_backward(p, labels, Tensor::full({}, 1.0F, Device::cuda), dx);
    for (std::size_t i = 0; i < 15; ++i)
      CHECK(std::isnan(dx.to(Device::cpu).data<float>()[i]) == (i / 5 == 1));
  }
}

TEST_CASE("optimisers over more parameters than a table holds") {
  std::vector<std::int64_t> sizes;
  for (std::int64_t i = 0; i < 1100; ++i) sizes.push_back(i % 13 == 5 ? 0 : i % 97 == 3 ? 9001 : i % 11 + 1);
  for (const bool graph : {false, true}) {
    std::vector<std::vector<Tensor>> results;
    for (const Device device : {Device::cpu, Device::cuda}) {
      Backend& on = backend(device);
      std::vector<SgdUpdate> plain, sgd;
      std::vector<AdamUpdate> adam;
      std::vector<Tensor> out;
      for (std::size_t i = 0; i < sizes.size(); ++i) {
        const Shape shape{sizes[i]};
        const auto make = [&](const char* n) {
          return random_tensor(shape, fmt::format("{}{}", n, i)).to(device).clone();
        };
        plain.push_back({make("g"), {}, make("w")});
        sgd.push_back({make("g"), make("v"), make("w2")});
        Tensor second = make("m2");
        on.unary(Unary::square, second, second);
        adam.push_back({make("g"), make("m"), second, make("w3"),
                        Tensor::from(std::vector<std::int64_t>{static_cast<std::int64_t>(i)}, Shape{})
                            .to(device)
                            .clone()});
        out.insert(out.end(), {plain.back().parameter, sgd.back().velocity, sgd.back().parameter,
                               adam.back().first_moment, adam.back().second_moment, adam.back().parameter});
      }
      Tensor rate = Tensor::full({}, 0.05F, device);
      const auto work = [&] {
        on.sgd_step({.weight_decay = 1e-2F}, rate, plain);
        on.sgd_step({.momentum = 0.9F, .weight_decay = 1e-2F, .nesterov = true}, rate, sgd);
        on.sgd_step({.momentum = 0.9F}, rate, sgd);
        on.adam_step({.weight_decay = 1e-2F}, rate, adam);
        on.adam_step({.weight_decay = 1e-2F, .decoupled = true}, rate, adam);
      };
      if (graph) {
        work();
        const auto recorded = on.record(work);
        on.fill(rate, 0.01);
        recorded->replay();
        on.fill(rate, 0.02);
        recorded->replay();
      } else {
        for (int s = 0; s < 4; ++s) {
          on.fill(rate, s < 2 ? 0.05 : s == 2 ? 0.01 : 0.02);
          work();
        }
      }
      for (std::size_t i = 0; i < sizes.size(); ++i)
        CHECK(adam[i].step.to(Device::cpu).data<std::int64_t>()[0] == static_cast<std::int64_t>(i) + 8);
      results.push_back(out);
    }
    double worst = 0.0;
    for (std::size_t i = 0; i < results[0].size(); ++i)
      worst = testing::worse(worst, difference(results[1][i], results[0][i], 1.0));  // one element may cancel
    MESSAGE("worst " << worst);
    CHECK(worst <= 1e-5);
  }
}

TEST_CASE("augmentation, with a sample that does not exist") {
  for (const std::int64_t channels : {1, 3}) {
    Tensor images = Tensor::empty({4, 7, 9, channels}, DType::u8);
    for (std::size_t i = 0; i < static_cast<std::size_t>(images.numel()); ++i)
      images.data<std::uint8_t>()[i] = static_cast<std::uint8_t>(i * 31 + 1);
    const Tensor normalise = random_tensor({3, 256}, "n");
    std::vector<std::int64_t> rows;
    const auto add = [&](const Placement& p) {
      const auto* first = reinterpret_cast<const std::int64_t*>(&p);
      rows.insert(rows.end(), first, first + placement_size);
    };
    add({.sample = 3});
    add({.sample = 1, .shift_y = -2, .shift_x = 3, .flip = 1});
    add({.sample = 0,
         .shift_y = 1,
         .rotated = 1,
         .cosine = 64000,
         .sine = 14000,
         .minus_sine = -14001,
         .offset_x = 30000,
         .offset_y = -60000,
         .erased = {.top = 2, .left = 1, .height = 3, .width = 5}});
    const Tensor good = Tensor::from(rows, {3, placement_size});
    const auto f = [&](Backend& on, auto& in, Tensor& y) { on.augment({in[0], in[1], in[2]}, y); };
    CHECK(same_bits(result_of(Device::cuda, {3, 7, 9, channels}, DType::f32, {images, good, normalise}, f),
                    result_of(Device::cpu, {3, 7, 9, channels}, DType::f32, {images, good, normalise}, f)));
    CHECK(same_bits(result_of(Device::cuda, {3, 7, 9, channels}, DType::bf16, {images, good, normalise}, f),
                    result_of(Device::cpu, {3, 7, 9, channels}, DType::bf16, {images, good, normalise}, f)));
    add({.sample = 4});
    add({.sample = -1});
    const Tensor bad = Tensor::from(rows, {5, placement_size});
    const Tensor y =
        result_of(Device::cuda, {5, 7, 9, channels}, DType::f32, {images, bad, normalise}, f).to(Device::cpu);
    for (std::int64_t i = 3 * 63 * channels; i < 5 * 63 * channels; ++i)
      CHECK(y.data<float>()[static_cast<std::size_t>(i)] ==
            normalise.data<float>()[static_cast<std::size_t>(256 * (i % channels))]);
  }
}

}  // namespace
}  // namespace generous
