#include "core/version.h"

namespace generous {

std::string_view version() { return GENEROUS_VERSION; }

}  // namespace generous
