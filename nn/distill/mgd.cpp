#include "nn/distill/mgd.h"

#include "nn/distill/feature_method.h"

namespace generous {
namespace {

class Mgd : public FeatureMethod {
 public:
  Mgd() : FeatureMethod("mgd", 7e-5) {}
  void declare(Options& options) override {
    options.add("alpha", weight_, {.help = "weight of the distillation term", .min = 0, .max = 1e6});
    options.add("lambda", lambda_, {.help = "share of the channels that are zeroed", .min = 0, .max = 0.99});
  }
  void connect(const Outputs& student, const Outputs& teacher, const TrainingSet&) override {
    const FeaturePair last = last_pair("mgd", student, teacher);
    generator_ = &add<MaskedGenerator>("mgd", last.student.size(3), last.teacher.size(3));
  }

 protected:
  Tensor knowledge(const DistillBatch& batch) override {
    const FeaturePair same = pool_to_smaller(last_pair("mgd", batch.student[0], batch.teacher[0]));
    const Tensor ones =
        Tensor::full({same.teacher.size(0), 1, 1, same.teacher.size(3)}, 1.0F, same.teacher.device());
    const auto share = static_cast<float>(lambda_);
    const std::int64_t first = first_row() * same.teacher.size(3);
    const Tensor kept =
        (1.0F - share) * dropout(ones, {.p = share, .key = key(), .step = step(), .first = first});
    return mgd_loss(generator_->forward(same.student, cast(kept, same.student.dtype())), same.teacher);
  }

 private:
  double lambda_ = 0.15;
  MaskedGenerator* generator_ = nullptr;
};

}  // namespace

MaskedGenerator::MaskedGenerator(std::int64_t in, std::int64_t out)
    : align_(add<Conv2d>("align", Conv2dOptions{.in = in, .out = out, .kernel = 1, .bias = true})),
      generation_(add<Sequential>("generation")) {
  const Conv2dOptions same{.in = out, .out = out, .kernel = 3, .padding = 1, .bias = true};
  generation_.append<Conv2d>(same);
  generation_.append<ReLU>();
  generation_.append<Conv2d>(same);
}

Tensor MaskedGenerator::forward(const Tensor& x, const Tensor& kept) { return generation_(align_(x) * kept); }

Tensor mgd_loss(const Tensor& generated, const Tensor& teacher) {
  return sum(square(generated - teacher)) / static_cast<float>(teacher.size(0));
}

std::unique_ptr<Method> make_mgd() { return std::make_unique<Mgd>(); }

}  // namespace generous
