// How bytes become the floats that a network sees.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/tensor.h"

namespace generous {

/// By channel (byte / 255 - mean) / std; of images of C channels the first C count.
struct Normalisation {
  std::array<float, 3> mean{};
  std::array<float, 3> std{};
};

/// Of images u8 {N, H, W, C} on the host, C from 1 to 3, each channel's mean and standard deviation over all
/// pixels, as published ones are: of bytes / 255, with four decimals; no deviation is below 0.001.
Normalisation statistics_of(const Tensor& images);

/// The means, and behind a slash the standard deviations, of so many channels: "0.286/0.353" of one. Texts
/// are equal where the numbers are.
std::string to_text(const Normalisation& normalisation, std::int64_t channels);

struct ParsedNormalisation {
  Normalisation values;
  std::int64_t channels = 0;
};
/// The reverse; nothing for a text of another form or of impossible numbers: means from -10 to 10, standard
/// deviations from 0.001 to 10.
std::optional<ParsedNormalisation> parse_normalisation(std::string_view text);

}  // namespace generous
