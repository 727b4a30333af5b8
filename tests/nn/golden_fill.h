// The deterministic fill of the reference values (tests/golden/README.md): weights and inputs as a function
// of name and index alone, in PyTorch's layouts.
#pragma once

#include <zlib.h>

#include <cmath>
#include <cstdint>
#include <string>

#include "core/tensor.h"

namespace generous {

inline std::uint64_t golden_crc(const std::string& name) {
  return crc32(0, reinterpret_cast<const Bytef*>(name.data()), static_cast<uInt>(name.size()));
}

inline std::uint64_t golden_bits(std::uint64_t crc, std::uint64_t index) {
  std::uint64_t z = (crc << 32) + index;
  z += 0x9E3779B97F4A7C15ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

/// shift + scale * u, u uniform in [-1, 1).
inline Tensor golden_values(const std::string& name, const Shape& shape, double scale, double shift = 0.0) {
  Tensor tensor = Tensor::empty(shape);
  const std::uint64_t crc = golden_crc(name);
  std::uint64_t index = 0;
  for (float& value : tensor.data<float>()) {
    const double u = static_cast<double>(golden_bits(crc, index++) >> 40) / 16777216.0 * 2.0 - 1.0;
    value = static_cast<float>(shift + scale * u);
  }
  return tensor;
}

/// The entry `name` of a state dict.
inline Tensor golden_state(const std::string& name, const Shape& shape) {
  const std::string last = name.substr(name.rfind('.') + 1);
  if (last == "num_batches_tracked") return Tensor::zeros(shape, DType::i64);
  const bool vector = shape.rank() == 1;
  if (last == "running_var" || (vector && last == "weight")) return golden_values(name, shape, 0.25, 1.0);
  if (vector) return golden_values(name, shape, 0.1);  // a bias, a running mean, VID's log scales
  if (shape.rank() == 2) return golden_values(name, shape, std::sqrt(3.0 / static_cast<double>(shape[1])));
  const double fan_in = static_cast<double>(shape[1] * shape[2] * shape[3]);
  return golden_values(name, shape, std::sqrt(6.0 / fan_in));
}

inline Tensor golden_labels(std::int64_t batch, std::int64_t classes) {
  Tensor labels = Tensor::empty({batch}, DType::i64);
  const std::uint64_t crc = golden_crc("labels");
  std::uint64_t index = 0;
  for (std::int64_t& label : labels.data<std::int64_t>())
    label = static_cast<std::int64_t>(golden_bits(crc, index++) % static_cast<std::uint64_t>(classes));
  return labels;
}

}  // namespace generous
