// Numbers in sentences.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace generous {

/// "1 epoch", "12 epochs", "3 classes": `what` in the singular, whose plural has an s, or es behind an s.
std::string counted(std::int64_t count, std::string_view what);

/// The shortest text that reads back to the same number; a nan has no sign.
std::string shown(float number);
std::string shown(double number);

}  // namespace generous
