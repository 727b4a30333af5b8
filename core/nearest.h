// "Did you mean": the known word closest to one that a person typed.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace generous {

/// The candidate with the smallest edit distance to `word` (insert, delete, replace, swap of two neighbours:
/// one each); the first of equals. Empty when there are no candidates.
std::string nearest(std::string_view word, std::span<const std::string> candidates);

}  // namespace generous
