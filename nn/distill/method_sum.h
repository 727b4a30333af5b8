// Several distillation methods at once.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nn/distill/method.h"

namespace generous {

struct MethodPart {
  std::string name;
  std::unique_ptr<Method> method;
};

/// ce_weight * the cross-entropy of every view + the distillation terms of all parts, each with the weights
/// that its own settings give it. These are declared as `PART.NAME`, and a part's state is in the child PART;
/// a part's own weight of cross-entropy has no part in it.
class MethodSum : public Method {
 public:
  /// Throws Error, which says why, for parts that cannot share a step.
  explicit MethodSum(std::vector<MethodPart> parts);
  void declare(Options& options) override;
  Needs needs() const override;
  std::vector<std::string> terms() const override;
  std::unique_ptr<Network> student(std::unique_ptr<Network> student, const Outputs& of_student,
                                   const Outputs& of_teacher, std::uint64_t seed) override;
  void connect(const Outputs& student, const Outputs& teacher, const TrainingSet& train) override;
  std::int64_t loss_since(std::int64_t epoch) const override;
  Loss loss(const DistillBatch& batch) override;

 private:
  struct Part {
    std::string name;
    Method& method;
  };
  std::vector<Part> parts_;
  double ce_weight_ = 1.0;
};

}  // namespace generous
