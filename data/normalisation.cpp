#include "data/normalisation.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <span>

#include "core/error.h"

namespace generous {

namespace {

/// Numbers from `low` to `high` with commas between: how many, 0 where it is anything else.
std::size_t parse_numbers(std::string_view text, float low, float high, std::array<float, 3>& out) {
  for (std::size_t count = 0; count < out.size();) {
    float& number = out[count++];
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || !(number >= low && number <= high)) return 0;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    if (text.empty()) return count;
    if (text[0] != ',') return 0;
    text.remove_prefix(1);
  }
  return 0;
}

}  // namespace

Normalisation statistics_of(const Tensor& images) {
  const Shape& shape = images.shape();
  require(images.dtype() == DType::u8 && shape.rank() == 4 && shape[3] >= 1 && shape[3] <= 3 &&
              images.numel() > 0,
          "statistics: expected images u8 {{N, H, W, 1 to 3}}, found {}", shape.str());
  const auto channels = static_cast<std::size_t>(shape[3]);
  const std::span<const std::uint8_t> bytes = images.data<std::uint8_t>();
  // How often each channel has each byte: whole numbers, which are the same in whatever order they are
  // counted.
  std::array<std::array<std::int64_t, 256>, 3> counts{};
  for (std::size_t i = 0; i < bytes.size(); i += channels)
    for (std::size_t c = 0; c < channels; ++c) ++counts[c][bytes[i + c]];
  const auto rounded = [](double value) { return static_cast<float>(std::round(value * 1e4) / 1e4); };
  Normalisation result;
  for (std::size_t c = 0; c < channels; ++c) {
    const auto count = static_cast<double>(bytes.size() / channels);
    double sum = 0.0;
    for (std::size_t byte = 0; byte < 256; ++byte)
      sum += static_cast<double>(counts[c][byte]) * static_cast<double>(byte);
    const double mean = sum / count;
    double squares = 0.0;
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const double distance = static_cast<double>(byte) - mean;
      squares += static_cast<double>(counts[c][byte]) * distance * distance;
    }
    result.mean[c] = rounded(mean / 255.0);
    result.std[c] = std::max(rounded(std::sqrt(squares / count) / 255.0), 0.001F);
  }
  return result;
}

std::string to_text(const Normalisation& normalisation, std::int64_t channels) {
  const auto numbers = [&](const std::array<float, 3>& of) {
    return fmt::join(std::span(of).first(static_cast<std::size_t>(channels)), ",");
  };
  return fmt::format("{}/{}", numbers(normalisation.mean), numbers(normalisation.std));
}

std::optional<ParsedNormalisation> parse_normalisation(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return {};
  ParsedNormalisation parsed;
  const std::size_t means = parse_numbers(text.substr(0, slash), -10.0F, 10.0F, parsed.values.mean);
  const std::size_t deviations = parse_numbers(text.substr(slash + 1), 0.001F, 10.0F, parsed.values.std);
  if (means == 0 || means != deviations) return {};
  parsed.channels = static_cast<std::int64_t>(means);
  return parsed;
}

}  // namespace generous
