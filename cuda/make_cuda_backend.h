// All that the rest of the project sees of cuda/.
#pragma once

#include <memory>

#include "core/backend.h"

namespace generous {

/// The backend of the visible GPU of this number, from 0. Throws Error that says what is missing when there
/// is none, or none that this build, its libraries and the installed driver fit.
std::unique_ptr<Backend> make_cuda_backend(int number);

}  // namespace generous
