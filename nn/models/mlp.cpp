#include "nn/models/mlp.h"

#include "nn/layers.h"

namespace generous {
namespace {

class Mlp : public Network {
 public:
  explicit Mlp(const ModelOptions& options)
      : fc1_(add<FlattenLinear>("fc1", options.image, width)),
        fc2_(add<Linear>("fc2", width, width)),
        fc3_(add<Linear>("fc3", width, options.classes)) {}

  Tensor forward(const Tensor& x, Features* features) override {
    const Tensor hidden = relu(fc2_(relu(fc1_(x))));  // {N, 512}
    if (features != nullptr) features->pooled = hidden;
    return relu(fc3_(hidden));
  }

 private:
  static constexpr std::int64_t width = 512;

  FlattenLinear& fc1_;
  Linear& fc2_;
  Linear& fc3_;
};

}  // namespace

std::unique_ptr<Network> make_mlp(const ModelOptions& options) { return std::make_unique<Mlp>(options); }

}  // namespace generous
