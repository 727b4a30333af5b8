// All that the rest of the project sees of cuda/.
#pragma once

#include <memory>

#include "core/backend.h"

namespace generous {

/// The backend of the first visible GPU. Throws Error that says what is missing when there is none, or none
/// that this build, its libraries and the installed driver fit.
std::unique_ptr<Backend> make_cuda_backend();

}  // namespace generous
