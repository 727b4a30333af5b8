// A stack that something can run on, leave in the middle and come back to.
#pragma once

#include <boost/context/detail/fcontext.hpp>
#include <cstddef>

namespace generous::emulation {

class Fiber {
 public:
  /// `body` runs when the fiber is first switched to, and never returns.
  explicit Fiber(void (*body)());
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Runs the fiber until it leaves. To be called outside of fibers.
  void enter();
  /// Back to who called enter(). To be called by the fiber that runs.
  static void leave();
  /// To be called on the way out of the fiber that runs, if one does, when something else than leave() ends
  /// it.
  static void abandon();
  /// Forgets where the fiber is: it begins anew. What was on its stack is not destroyed.
  void restart();

 private:
  static void begin(boost::context::detail::transfer_t from);

  void (*body_)();
  char* stack_ = nullptr;  ///< its lowest page stays closed
  boost::context::detail::fcontext_t context_ = nullptr;
  void* fake_stack_ = nullptr;  ///< the address sanitizer's
};

}  // namespace generous::emulation
