#include "nn/distill/ofd.h"

#include <cmath>
#include <numbers>

#include "nn/distill/feature_method.h"

namespace generous {
namespace {

std::vector<float> values(const Tensor& x) {
  const Tensor host = x.to(Device::cpu);
  return {host.data<float>().begin(), host.data<float>().end()};
}

class Ofd : public FeatureMethod {
 public:
  Ofd() : FeatureMethod("ofd", 1e-3) {}
  void declare(Options& options) override {
    FeatureMethod::declare(options);
    options.add("kernel_size", kernel_, {.help = "of the student's connectors, odd", .min = 1, .max = 7});
  }
  Needs needs() const override { return {.features = true, .before_relu = true, .teacher_trains = true}; }
  void connect(const Outputs& student, const Outputs& teacher, const TrainingSet&) override {
    require(kernel_ % 2 == 1, "ofd: kernel_size is {} and has to be odd", kernel_);
    const FeaturePairs stages = before_relu_pairs("ofd", student, teacher);
    const std::vector<const BatchNorm*>& norms = teacher.features.norms;
    for (std::size_t i = 0; i < stages.size(); ++i) {
      const BatchNorm* norm = norms[norms.size() - stages.size() + i];
      require(norm != nullptr,
              "ofd: the teacher has no batch norm before the last ReLU of its stage {} of {} to take margins "
              "from",
              norms.size() - stages.size() + i, norms.size() - 1);
      const std::vector<StateEntry> affine = norm->parameters();  // weight, bias
      const std::vector<float> margins = ofd_margins(values(affine[0].tensor), values(affine[1].tensor));
      const FeaturePair& stage = stages[i];
      const std::int64_t width = stage.teacher.size(3);
      margins_.push_back(
          cast(Tensor::from(margins, {width}).to(stage.teacher.device()), stage.teacher.dtype()));
      Sequential& connector = add<Sequential>("connectors." + std::to_string(i));
      connector.append<Conv2d>(Conv2dOptions{.in = stage.student.size(3),
                                             .out = width,
                                             .kernel = kernel_,
                                             .padding = kernel_ / 2,
                                             .weights = Conv2dOptions::Weights::fan_out});
      connector.append<BatchNorm>(width);
      connectors_.push_back(&connector);
    }
  }

 protected:
  Tensor knowledge(const DistillBatch& batch) override {
    const FeaturePairs stages = before_relu_pairs("ofd", batch.student[0], batch.teacher[0]);
    Tensor sum;
    for (std::size_t i = 0; i < stages.size(); ++i) {
      const Tensor s = (*connectors_[i])(stages[i].student);
      const Tensor t = adaptive_avg_pool2d(stages[i].teacher, s.size(1), s.size(2));
      const float share = std::ldexp(1.0F, -static_cast<int>(stages.size() - 1 - i));
      const Tensor term = share * partial_l2(s, t, margins_[i]);
      sum = sum.defined() ? sum + term : term;
    }
    return sum;
  }

 private:
  std::int64_t kernel_ = 1;
  std::vector<Sequential*> connectors_;
  std::vector<Tensor> margins_;  ///< of the teacher alone, so no part of the state
};

}  // namespace

Tensor partial_l2(const Tensor& student, const Tensor& teacher, const Tensor& margins) {
  // max(t, m) is t where t > 0. Where s is below, it counts for t > 0 alone; mdistiller's form: the authors'
  // own also has (s - m)^2 for t < s <= m.
  const Tensor difference = student - (relu(teacher - margins) + margins);
  const Tensor squares = square(relu(difference)) + step(teacher) * square(relu(-difference));
  return sum(squares) / static_cast<float>(student.size(0));
}

std::vector<float> ofd_margins(const std::vector<float>& weight, const std::vector<float>& bias) {
  std::vector<float> margins;
  for (std::size_t c = 0; c < weight.size(); ++c) {
    const double deviation = std::abs(static_cast<double>(weight[c]));
    const double mean = static_cast<double>(bias[c]);
    const double below = 0.5 * std::erfc(mean / deviation / std::numbers::sqrt2);
    const double ratio = mean / deviation;
    const double density = std::exp(-ratio * ratio / 2.0) / std::sqrt(2.0 * std::numbers::pi);
    margins.push_back(
        static_cast<float>(below > 0.001 ? mean - deviation * density / below : -3.0 * deviation));
  }
  return margins;
}

std::unique_ptr<Method> make_ofd() { return std::make_unique<Ofd>(); }

}  // namespace generous
