#include "core/counted.h"

#include <fmt/format.h>

#include <cmath>

namespace generous {

std::string counted(std::int64_t count, std::string_view what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : what.ends_with('s') ? "es" : "s");
}

std::string shown(float number) { return std::isnan(number) ? "nan" : fmt::format("{}", number); }
std::string shown(double number) { return std::isnan(number) ? "nan" : fmt::format("{}", number); }

}  // namespace generous
