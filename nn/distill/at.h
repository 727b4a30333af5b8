// Zagoruyko and Komodakis, "Paying more attention to attention", 2017.
#pragma once

#include <memory>

#include "nn/distill/method.h"

namespace generous {

/// Images {N, H, W, C} -> {N, H W}: the mean of x^p over the channels, divided by its norm (the attention
/// map).
Tensor attention_map(const Tensor& x, std::int64_t p);

/// CE + weight * sum over stages of mean (Q_s - Q_t)^2, Q the attention maps, in the smaller size of the two.
std::unique_ptr<Method> make_at();

}  // namespace generous
