#include "nn/distill/itrd.h"

#include <cmath>
#include <numbers>

#include "nn/distill/connectors.h"

namespace generous {
namespace {

/// Each column minus its mean, divided by its unbiased deviation over the rows.
Tensor standardise_columns(const Tensor& x) {
  const auto rows = static_cast<float>(x.size(0));
  const Shape columns{1, x.size(1)};
  const Tensor centred = x - sum_to(x, columns) / rows;
  return std::sqrt(rows - 1.0F) * l2_normalise(centred, columns);
}

class Itrd : public FeatureMethod {
 public:
  Itrd() : FeatureMethod("itrd", 1.0) {}
  Needs needs() const override { return {.features = true, .relational = true}; }
  void declare(Options& options) override {
    options.add("lambda_corr", lambda_corr_, {.help = "weight of the correlations", .min = 0, .max = 1e6});
    options.add("lambda_mutual", lambda_mutual_,
                {.help = "weight of the mutual information", .min = 0, .max = 1e6});
    options.add("alpha", alpha_, {.help = "order of the entropy", .min = 1, .max = 100});
  }
  void connect(const Outputs& student, const Outputs& teacher, const TrainingSet&) override {
    const FeaturePair pooled = pooled_pair("itrd", student, teacher);
    embed_ = &add<Embedding>("embed", pooled.student.size(1), pooled.teacher.size(1));
  }

 protected:
  Tensor knowledge(const DistillBatch& batch) override {
    const FeaturePair pooled = pooled_pair("itrd", batch.student[0], batch.teacher[0]);
    const Tensor embedded = (*embed_)(pooled.student);
    return static_cast<float>(lambda_corr_) *
               itrd_correlation_loss(embedded, pooled.teacher, static_cast<float>(alpha_)) +
           static_cast<float>(lambda_mutual_) * itrd_mutual_loss(embedded, pooled.teacher);
  }

 private:
  double lambda_corr_ = 2.0;
  double lambda_mutual_ = 1.0;
  double alpha_ = 1.5;
  Embedding* embed_ = nullptr;
};

}  // namespace

Tensor itrd_correlation_loss(const Tensor& student, const Tensor& teacher, float alpha) {
  const std::int64_t batch = student.size(0);
  if (batch == 1) return 0.0F * sum(student);
  const Tensor products = standardise_columns(student) * standardise_columns(teacher);
  const Tensor correlations = sum_to(products, {1, student.size(1)}) / static_cast<float>(batch);
  const Tensor powers = exp(alpha * log(at_least(square(correlations - 1.0F), 1e-30F)));
  return log(sum(powers)) / std::numbers::ln2_v<float>;
}

Tensor itrd_mutual_loss(const Tensor& student, const Tensor& teacher) {
  const Tensor s = l2_rows(student);
  const Tensor t = l2_rows(teacher);
  // The diagonals: the rows' squared norms, 1 unless a row is 0.
  const Tensor squares_s = sum_rows(square(s));
  const Tensor squares_t = sum_rows(square(t));
  const Tensor gram_s = matmul(s, s, false, true);
  const Tensor gram_st = gram_s * matmul(t, t, false, true);
  const Tensor trace_s = at_least(sum(squares_s), 1e-12F);
  const Tensor trace_st = at_least(sum(squares_s * squares_t), 1e-12F);
  return sum(square(gram_s / trace_s)) - sum(square(gram_st / trace_st));
}

std::unique_ptr<Method> make_itrd() { return std::make_unique<Itrd>(); }

}  // namespace generous
