// The CPU's two implementations of the backend.
#pragma once

#include <memory>

#include "core/backend.h"

namespace generous {

/// Every kernel in readable C++ and Eigen.
std::unique_ptr<Backend> make_eigen_backend();

/// The same, with convolution, pooling and matrix products by oneDNN; null in a build without oneDNN.
std::unique_ptr<Backend> make_onednn_backend();

/// oneDNN's where this build has it, otherwise Eigen's.
std::unique_ptr<Backend> make_cpu_backend();

}  // namespace generous
