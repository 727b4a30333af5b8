#include "nn/distill/cc.h"

#include "nn/distill/connectors.h"

namespace generous {
namespace {

class Cc : public FeatureMethod {
 public:
  Cc() : FeatureMethod("cc", 0.02) {}
  Needs needs() const override { return {.features = true, .relational = true}; }
  void declare(Options& options) override {
    FeatureMethod::declare(options);
    options.add("dim", dim_, {.help = "of the embeddings", .min = 1, .max = 65536});
  }
  void connect(const Outputs& student, const Outputs& teacher, const TrainingSet&) override {
    const FeaturePair pooled = pooled_pair("cc", student, teacher);
    embed_s_ = &add<Embedding>("embed_s", pooled.student.size(1), dim_);
    embed_t_ = &add<Embedding>("embed_t", pooled.teacher.size(1), dim_);
  }

 protected:
  Tensor knowledge(const DistillBatch& batch) override {
    const FeaturePair pooled = pooled_pair("cc", batch.student[0], batch.teacher[0]);
    return cc_loss((*embed_s_)(pooled.student), (*embed_t_)(pooled.teacher));
  }

 private:
  std::int64_t dim_ = 128;
  Embedding* embed_s_ = nullptr;
  Embedding* embed_t_ = nullptr;
};

}  // namespace

Tensor cc_loss(const Tensor& student, const Tensor& teacher) {
  const std::int64_t batch = student.size(0);
  const std::int64_t dim = student.size(1);
  const Tensor difference = student - teacher;
  if (batch == 1) return 0.0F * sum(difference);  // no neighbours
  const Tensor rows = reshape(abs(difference), {1, batch * dim});
  const Tensor first = slice_channels(rows, 0, (batch - 1) * dim);
  const Tensor next = slice_channels(rows, dim, (batch - 1) * dim);
  return sum(first * next) / static_cast<float>(batch - 1);
}

std::unique_ptr<Method> make_cc() { return std::make_unique<Cc>(); }

}  // namespace generous
