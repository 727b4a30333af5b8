#include "nn/models/densenet.h"

#include <array>

namespace generous {
namespace {

struct Spec {
  std::array<int, 4> layers{};  ///< of each block
  std::int64_t growth = 32;     ///< channels that a layer adds
};

Spec spec_of(int depth) {
  switch (depth) {
    case 121:
      return {{6, 12, 24, 16}, 32};
    case 161:
      return {{6, 12, 36, 24}, 48};
    case 169:
      return {{6, 12, 32, 32}, 32};
    case 201:
      return {{6, 12, 48, 32}, 32};
    default:
      fail("make_densenet: there is no depth {}", depth);
  }
}

/// What a block has made so far, side by side: its input, then the output of each of its layers. Their
/// concatenation is read by batch norms alone and never made.
using Parts = BatchNorm::Parts;

Tensor concatenated(const Parts& parts) {
  std::vector<Tensor> tensors;
  for (const BatchNormPart& part : parts) tensors.push_back(part.x);
  return concat(tensors);
}

/// Batch norm, ReLU and 1x1 convolution to 4k channels, batch norm, ReLU and 3x3 convolution to k; under the
/// name "bottle_neck", where the ReLUs count.
class DenseLayer : public Module {
 public:
  DenseLayer(std::int64_t in, std::int64_t growth) : body_(add<Body>("bottle_neck", in, growth)) {}
  Tensor forward(const Tensor& x) override { return body_(x); }
  /// {N, H, W, in} -> {N, H, W, growth}
  Tensor forward(const Parts& x) { return body_.forward(x); }

 private:
  class Body : public Module {
   public:
    Body(std::int64_t in, std::int64_t growth)
        : bn1_(add<BatchNorm>("0", in)),
          conv1_(add<Conv2d>("2", conv1x1(in, 4 * growth, 1, Conv2dOptions::Weights::fan_in))),
          bn2_(add<BatchNorm>("3", 4 * growth)),
          conv2_(add<Conv2d>("5", conv3x3(4 * growth, growth, 1, Conv2dOptions::Weights::fan_in))) {}
    Tensor forward(const Tensor& x) override { return forward(Parts{x}); }
    Tensor forward(const Parts& x) { return conv2_(conv_bn_relu(conv1_, bn2_, bn1_.then_relu(x))); }

   private:
    BatchNorm& bn1_;
    Conv2d& conv1_;
    BatchNorm& bn2_;
    Conv2d& conv2_;
  };
  Body& body_;
};

/// Layers whose output is concatenated after their input.
class DenseBlock : public Module {
 public:
  DenseBlock(int layers, std::int64_t in, std::int64_t growth) {
    for (int i = 0; i < layers; ++i)
      layers_.push_back(&add<DenseLayer>("bottle_neck_layer_" + std::to_string(i), in + i * growth, growth));
  }
  Tensor forward(const Tensor& x) override { return concatenated(parts(x)); }
  /// x {N, H, W, in} -> {N, H, W, in + layers * growth} in parts
  Parts parts(const Tensor& x) {
    Parts made{x};
    for (DenseLayer* layer : layers_) made.emplace_back(layer->forward(made));
    return made;
  }

 private:
  std::vector<DenseLayer*> layers_;
};

/// Batch norm, 1x1 convolution to half the channels, 2x2 average pooling; no ReLU. The convolution is the
/// same for every pixel, and so may follow the pooling: a fourth of its work.
class Transition : public Module {
 public:
  explicit Transition(std::int64_t in) : body_(add<Body>("down_sample", in)) {}
  Tensor forward(const Tensor& x) override { return forward(Parts{x}, nullptr); }
  /// {N, H, W, in} -> {N, H / 2, W / 2, in / 2}. `normalised`, if not nullptr, gets the batch norm's output.
  Tensor forward(const Parts& x, Tensor* normalised) {
    const Tensor y = body_.bn.forward(x, {});
    if (normalised != nullptr) *normalised = y;
    return body_.conv(avg_pool2d(y, {.kernel_h = 2, .kernel_w = 2, .stride = 2}));
  }
  const BatchNorm& norm() const { return body_.bn; }

 private:
  struct Body : Module {
    explicit Body(std::int64_t in)
        : bn(add<BatchNorm>("0", in)),
          conv(add<Conv2d>("1", conv1x1(in, in / 2, 1, Conv2dOptions::Weights::fan_in))) {}
    Tensor forward(const Tensor& x) override { return conv(bn(x)); }
    BatchNorm& bn;
    Conv2d& conv;
  };
  Body& body_;
};

/// All between stem and classifier, under the name "features".
class DenseBody : public Module {
 public:
  DenseBody(const Spec& spec, std::int64_t channels) {
    for (std::size_t b = 0; b < 3; ++b) {
      const std::string number = std::to_string(b);
      blocks_[b] = &add<DenseBlock>("dense_block_layer_" + number, spec.layers[b], channels, spec.growth);
      channels += spec.layers[b] * spec.growth;
      transitions_[b] = &add<Transition>("transition_layer_" + number, channels);
      channels /= 2;
    }
    blocks_[3] = &add<DenseBlock>("dense_block3", spec.layers[3], channels, spec.growth);
    out_ = channels + spec.layers[3] * spec.growth;
    bn_ = &add<BatchNorm>("bn", out_);
  }

  Tensor forward(const Tensor& x) override { return forward(x, nullptr); }
  /// A block is seen before its transition, the last one behind the last ReLU.
  Tensor forward(const Tensor& x, Features* features) {
    Tensor y = x;
    for (std::size_t b = 0; b < 3; ++b) {
      StageTap tap(features);
      const Parts dense = blocks_[b]->parts(y);
      y = transitions_[b]->forward(dense, tap.before_relu());
      if (features != nullptr) tap.add(concatenated(dense), &transitions_[b]->norm());
    }
    StageTap tap(features);
    y = bn_->then_relu(blocks_[3]->parts(y), tap.before_relu());
    tap.add(y, bn_);
    return y;
  }
  std::int64_t out() const { return out_; }

 private:
  std::array<DenseBlock*, 4> blocks_{};
  std::array<Transition*, 3> transitions_{};
  BatchNorm* bn_ = nullptr;
  std::int64_t out_ = 0;
};

class DenseNet : public Network {
 public:
  DenseNet(const Spec& spec, const ModelOptions& options)
      : conv1_(add<Conv2d>("conv1",
                           conv3x3(options.image[2], 2 * spec.growth, 1, Conv2dOptions::Weights::fan_in))),
        features_(add<DenseBody>("features", spec, 2 * spec.growth)),
        linear_(add<Linear>("linear", features_.out(), options.classes)) {}

  Tensor forward(const Tensor& x, Features* features) override {
    Tensor y = conv1_(x);
    StageTap(features).add_stem(y);
    y = global_avg_pool(features_.forward(y, features));
    if (features != nullptr) features->pooled = y;
    return linear_(y);
  }

 private:
  Conv2d& conv1_;
  DenseBody& features_;
  Linear& linear_;
};

}  // namespace

std::unique_ptr<Network> make_densenet(int depth, const ModelOptions& options) {
  check_poolings("densenet" + std::to_string(depth), options.image, 3);
  return std::make_unique<DenseNet>(spec_of(depth), options);
}

}  // namespace generous
