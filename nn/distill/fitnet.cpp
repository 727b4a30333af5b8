#include "nn/distill/fitnet.h"

#include "nn/distill/connectors.h"

namespace generous {
namespace {

class FitNet : public FeatureMethod {
 public:
  FitNet() : FeatureMethod("fitnet", 100.0) {}
  void declare(Options& options) override {
    FeatureMethod::declare(options);
    options.add(
        "hint_layer", hint_layer_,
        {.help = "which features are compared: 0 the stem's, then one for each stage", .min = 0, .max = 100});
  }
  void connect(const Outputs& student, const Outputs& teacher, const TrainingSet&) override {
    for (const auto& [network, outputs] : {std::pair{"student", &student}, {"teacher", &teacher}}) {
      const std::vector<Tensor>& stages = outputs->features.stages;
      require(static_cast<std::size_t>(hint_layer_) < stages.size(),
              "fitnet: the {} has {} features, none of number {}", network, stages.size(), hint_layer_);
      require(hint_of(*outputs).shape().rank() == 4, "fitnet: the {}'s features {} are no images", network,
              hint_of(*outputs).shape().str());
    }
    regressor_ =
        &add<ConvRegressor>("conv_reg", "fitnet", hint_of(student).shape(), hint_of(teacher).shape());
  }

 protected:
  Tensor knowledge(const DistillBatch& batch) override {
    return mean_squared_error((*regressor_)(hint_of(batch.student[0])), hint_of(batch.teacher[0]).detach());
  }

 private:
  const Tensor& hint_of(const Outputs& outputs) const {
    return outputs.features.stages[static_cast<std::size_t>(hint_layer_)];
  }

  std::int64_t hint_layer_ = 2;
  ConvRegressor* regressor_ = nullptr;
};

}  // namespace

std::unique_ptr<Method> make_fitnet() { return std::make_unique<FitNet>(); }

}  // namespace generous
