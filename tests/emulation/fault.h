// Touching memory that one may not touch: an error of the device while device work runs, the end of the
// program otherwise.
#pragma once

#include <functional>

namespace generous::emulation {

/// To be called before memory of the device can be touched: others install handlers of their own.
void watch_faults();

struct Fault {
  bool happened = false;
  const void* address = nullptr;
};

/// Runs `work` as device work. Device memory that it touches gets opened and stays open; what it touches
/// beyond ends it, without destroying its objects.
Fault run_guarded(const std::function<void()>& work);

}  // namespace generous::emulation
