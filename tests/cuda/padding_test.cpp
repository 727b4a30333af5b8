// Images with fewer channels than tensor cores take, in bf16: they are kept with zeros beside them, and
// whatever writes them, the next convolution reads what they hold now.

#include <doctest/doctest.h>

#include "core/placement.h"
#include "tests/cuda/differences.h"

namespace generous {
namespace {

using testing::random_tensor;

Backend& gpu() { return backend(Device::cuda); }

Tensor in_bf16(const Shape& shape, const std::string& name) {
  return cast(random_tensor(shape, name), DType::bf16);
}

std::vector<float> values(const Tensor& x) {
  const Tensor host = cast(x.to(Device::cpu), DType::f32);
  return {host.data<float>().begin(), host.data<float>().end()};
}

/// y, dx, dx added to something, dweight in f32 and in bf16, on a device.
std::vector<Tensor> convolve(std::int64_t channels, Device device) {
  const Conv2dParams params{.stride = 2, .padding = 1};
  const Tensor x = in_bf16({3, 7, 6, channels}, "x").to(device);
  const Tensor weight = random_tensor({5, 3, 2, channels}, "weight").to(device);
  const Tensor dy = in_bf16({3, 4, 4, 5}, "dy").to(device);
  Tensor y = Tensor::empty({3, 4, 4, 5}, DType::bf16, device);
  Tensor dx = Tensor::empty(x.shape(), DType::bf16, device);
  Tensor added = in_bf16(x.shape(), "added").to(device);
  Tensor dweight = Tensor::empty(weight.shape(), DType::f32, device);
  Backend& on = backend(device);
  on.conv2d(params, x, weight, {}, y);
  on.conv2d_backward_data(params, dy, weight, dx);
  on.accumulate_conv2d_backward_data(params, dy, weight, added);
  on.conv2d_backward_weight(params, x, dy, dweight);
  return {y, dx, added, dweight};
}

TEST_CASE("convolutions of one to nine channels in bf16") {
  for (const std::int64_t channels : {1, 2, 3, 4, 7, 8, 9}) {
    CAPTURE(channels);
    const auto wanted = convolve(channels, Device::cpu);
    const auto found = convolve(channels, Device::cuda);
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      CAPTURE(i);
      CHECK(testing::relative_error(cast(found[i], DType::f32), cast(wanted[i], DType::f32)) < 1e-2);
    }
  }
}

/// A first convolution, and the same of images that have no past.
class First {
 public:
  std::vector<float> of(const Tensor& x) const {
    Tensor y = Tensor::empty({2, 6, 5, 4}, DType::bf16, Device::cuda);
    convolve(x, y);
    return values(y);
  }
  std::vector<float> wanted(const Tensor& x) const { return of(x.clone()); }
  void convolve(const Tensor& x, Tensor& y) const { gpu().conv2d({.padding = 1}, x, weight_, {}, y); }

 private:
  Tensor weight_ = random_tensor({4, 3, 3, 3}, "weight").to(Device::cuda);
};

Tensor images(const std::string& name) { return in_bf16({2, 6, 5, 3}, name).to(Device::cuda); }

TEST_CASE("images that are written over between convolutions") {
  const First first;
  Tensor x = images("x");
  const auto before = first.of(x);
  CHECK(first.of(x) == before);
  gpu().copy(images("other"), x);
  CHECK(first.of(x) != before);
  CHECK(first.of(x) == first.wanted(x));
  gpu().affine(x, 0.5F, 1.0F, x);
  CHECK(first.of(x) == first.wanted(x));
}

TEST_CASE("images that are written over between replays, and read outside of them") {
  const First first;
  Tensor x = images("x");
  Tensor y = Tensor::empty({2, 6, 5, 4}, DType::bf16, Device::cuda);
  first.convolve(x, y);
  const auto recorded = gpu().record([&] { first.convolve(x, y); });
  for (const std::string name : {"one", "two", "three"}) {
    gpu().copy(images(name), x);
    if (name == "two") first.of(x);
    recorded->replay();
    CHECK(values(y) == first.wanted(x));
    CHECK(first.of(x) == first.wanted(x));
  }
}

TEST_CASE("images that a recording makes and convolves") {
  const First first;
  const AugmentInputs in{
      .images = Tensor::from(std::vector<std::uint8_t>(180, 7), {2, 6, 5, 3}).to(Device::cuda),
      .placements = Tensor::zeros({2, placement_size}, DType::i64, Device::cuda),
      .normalise = random_tensor({3, 256}, "normalise").to(Device::cuda)};
  Tensor y = Tensor::empty({2, 6, 5, 4}, DType::bf16, Device::cuda);
  Tensor x;
  const auto work = [&] {
    x = Tensor::empty({2, 6, 5, 3}, DType::bf16, Device::cuda);
    gpu().augment(in, x);
    first.convolve(x, y);
  };
  work();
  const auto by_hand = values(y);
  CHECK(by_hand == first.wanted(x));
  const auto recorded = gpu().record(work);
  CHECK(values(y) == by_hand);
  Tensor normalise = in.normalise;
  gpu().affine(normalise, 2.0F, 0.0F, normalise);
  recorded->replay();
  CHECK(values(y) != by_hand);
  work();
  const auto doubled = values(y);
  recorded->replay();
  CHECK(values(y) == doubled);
}

TEST_CASE("a recording that failed has padded nothing") {
  const First first;
  const Tensor x = images("x");
  first.of(images("another"));
  Tensor y = Tensor::empty({2, 6, 5, 4}, DType::bf16, Device::cuda);
  CHECK_THROWS_AS(gpu().record([&] {
    first.convolve(x, y);
    fail("a test");
  }),
                  Error);
  const auto found = first.of(x);
  CHECK(found == first.wanted(x));
}

TEST_CASE("images that a convolution made, with sums of its own kept beside them") {
  const First first;
  const Tensor weight = random_tensor({3, 3, 3, 8}, "weight").to(Device::cuda);
  const Tensor wide = in_bf16({2, 6, 5, 8}, "wide").to(Device::cuda);
  const auto made = [&] {
    Tensor x = Tensor::empty({2, 6, 5, 3}, DType::bf16, Device::cuda);
    gpu().conv2d({.padding = 1}, wide, weight, {}, x);
    return x;
  };
  gpu().choose_algorithms({.convolutions = ConvolutionChoice::measured});  // they are kept only then
  const Tensor x = made();
  const auto found = first.of(x);
  CHECK(found == first.wanted(x));
  gpu().choose_algorithms({});
}

/// How many rows are right, by the definition.
float count_of(const Tensor& x, const Tensor& labels) {
  return count_top_k(x.to(Device::cpu), labels.to(Device::cpu), 1).item();
}

TEST_CASE("the right ones that the cross-entropy found are those of these logits and labels") {
  Tensor x = random_tensor({40, 3}, "x").to(Device::cuda);
  std::vector<std::int64_t> classes(40);
  for (std::size_t i = 0; i < classes.size(); ++i) classes[i] = static_cast<std::int64_t>(i % 3);
  Tensor labels = Tensor::from(classes, {40}).to(Device::cuda);
  const Tensor others = Tensor::zeros({40}, DType::i64, Device::cuda);
  REQUIRE(count_of(x, labels) != count_of(x, others));
  cross_entropy(x, labels);
  CHECK(count_top_k(x, labels, 1).item() == count_of(x, labels));
  CHECK(count_top_k(x, labels, 2).item() == count_top_k(x.to(Device::cpu), labels.to(Device::cpu), 2).item());
  CHECK(count_top_k(x, others, 1).item() == count_of(x, others));
  gpu().affine(x, -1.0F, 0.0F, x);
  CHECK(count_top_k(x, labels, 1).item() == count_of(x, labels));
  cross_entropy(x, labels);
  gpu().copy(others, labels);
  CHECK(count_top_k(x, labels, 1).item() == count_of(x, others));
  cross_entropy(x, others);
  CHECK(count_top_k(x, others, 1).item() == count_of(x, others));
  CHECK(count_top_k(x, labels, 1).item() == count_of(x, others));
}

}  // namespace
}  // namespace generous
