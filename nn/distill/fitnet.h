// Romero et al., "FitNets: Hints for thin deep nets", 2015.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

/// CE + weight * mean (R(f_s) - f_t)^2 at one stage; R: ConvRegressor (connectors.h).
std::unique_ptr<Method> make_fitnet();

}  // namespace generous
