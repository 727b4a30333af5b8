// Standard training.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

/// Cross-entropy with the labels; no teacher.
std::unique_ptr<Method> make_none();

}  // namespace generous
