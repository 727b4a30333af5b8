#include "nn/distill/none.h"

namespace generous {
namespace {

class None : public Method {
 public:
  Needs needs() const override { return {.teacher = false}; }
  std::size_t losses() const override { return 1; }
  std::vector<std::string> terms() const override { return {"cross_entropy"}; }
  Loss loss(const DistillBatch& batch) override {
    const Tensor ce = task_loss(batch.student[0].logits, batch.labels);
    return {.task = ce, .terms = {ce}};
  }
};

}  // namespace

std::unique_ptr<Method> make_none() { return std::make_unique<None>(); }

}  // namespace generous
