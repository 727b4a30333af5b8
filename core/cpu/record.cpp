// Recorded work on the CPU: the function itself, called again.

#include "core/cpu/eigen_backend.h"

namespace generous {
namespace {

class CalledAgain final : public RecordedWork {
 public:
  explicit CalledAgain(std::function<void()> work) : work_(std::move(work)) {}
  void replay() override { work_(); }

 private:
  std::function<void()> work_;
};

}  // namespace

std::unique_ptr<RecordedWork> EigenBackend::record(const std::function<void()>& work) {
  work();
  return std::make_unique<CalledAgain>(work);
}

}  // namespace generous
