#include "nn/models/net.h"

#include "nn/layers.h"

namespace generous {
namespace {

class Net : public Network {
 public:
  Net(const Shape& image, std::int64_t c, std::int64_t classes, float dropout_rate)
      : conv1_(add<Conv2d>("conv1", biased_conv(image[2], c))),
        bn1_(add<BatchNorm>("bn1", c)),
        conv2_(add<Conv2d>("conv2", biased_conv(c, 2 * c))),
        bn2_(add<BatchNorm>("bn2", 2 * c)),
        conv3_(add<Conv2d>("conv3", biased_conv(2 * c, 4 * c))),
        bn3_(add<BatchNorm>("bn3", 4 * c)),
        fc1_(add<FlattenLinear>("fc1", Shape{image[0] / 8, image[1] / 8, 4 * c}, 4 * c)),
        fcbn1_(add<BatchNorm>("fcbn1", 4 * c)),
        dropout_(add<Dropout>("dropout", dropout_rate)),
        fc2_(add<Linear>("fc2", 4 * c, classes)) {}

  Tensor forward(const Tensor& x, Features* features) override {
    Tensor y = stage(conv1_, bn1_, x, features);  // {N, H/2, W/2, c}
    y = stage(conv2_, bn2_, y, features);         // {N, H/4, W/4, 2c}
    y = stage(conv3_, bn3_, y, features);         // {N, H/8, W/8, 4c}
    y = fcbn1_.then_relu(fc1_(y));                // {N, 4c}
    if (features != nullptr) features->pooled = y;
    return fc2_(dropout_(y));  // {N, classes}
  }

 private:
  static Conv2dOptions biased_conv(std::int64_t in, std::int64_t out) {
    return {.in = in, .out = out, .kernel = 3, .padding = 1, .bias = true};
  }

  /// The paper pools first. ReLU is monotone, so the values are the same, and so are the gradients: where
  /// windows differ in the element chosen, the ReLU passes none on. This order has the ReLU fused,
  /// unless what comes before it is wanted.
  static Tensor stage(Conv2d& conv, BatchNorm& bn, const Tensor& x, Features* features) {
    constexpr Pool2dParams pool{.kernel_h = 2, .kernel_w = 2, .stride = 2};
    StageTap tap(features);
    Tensor y;
    if (tap.before_relu() == nullptr) {
      y = max_pool2d(conv_bn_relu(conv, bn, x), pool);
    } else {
      *tap.before_relu() = max_pool2d(conv_bn(conv, bn, x), pool);
      y = relu(*tap.before_relu());
    }
    tap.add(y, &bn);
    return y;
  }

  Conv2d& conv1_;
  BatchNorm& bn1_;
  Conv2d& conv2_;
  BatchNorm& bn2_;
  Conv2d& conv3_;
  BatchNorm& bn3_;
  FlattenLinear& fc1_;
  BatchNorm& fcbn1_;
  Dropout& dropout_;
  Linear& fc2_;
};

class NetFamily : public ModelFamily {
 public:
  void declare(Options& options) override {
    options.add("num_channels", num_channels_,
                {.help = "channels of net's first layer", .min = 1, .max = 4096});
    options.add("dropout_rate", dropout_rate_,
                {.help = "probability of a zero in net's dropout", .min = 0, .max = 0.999});
  }

  std::unique_ptr<Network> build(const ModelOptions& options) const override {
    const Shape& image = options.image;
    check_poolings("net", image, 3);
    return std::make_unique<Net>(image, num_channels_, options.classes, static_cast<float>(dropout_rate_));
  }

 private:
  std::int64_t num_channels_ = 32;
  double dropout_rate_ = 0.0;
};

}  // namespace

std::unique_ptr<ModelFamily> make_net_family() { return std::make_unique<NetFamily>(); }

}  // namespace generous
