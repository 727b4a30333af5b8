#include "data/normalisation.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <span>

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
