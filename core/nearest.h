// "Did you mean": the known word closest to one that a person typed.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace generous {

/// The candidate with the smallest edit distance to `word` (insert, delete, replace, swap of two neighbours:
/// one each); the first of equals. Empty when there are no candidates.
std::string nearest(std::string_view word, std::span<const std::string> candidates);

/// The nearest candidate where it is likely that it was meant: at most a third of the word's letters away, or
/// one, and not all of them. "" otherwise.
std::string near_word(std::string_view word, std::span<const std::string> candidates);

/// " (did you mean 'sgd'?)" for a near word, "" where none is.
std::string suggestion(std::string_view word, std::span<const std::string> candidates);

/// The number of those edits between two words.
std::size_t edit_distance(std::string_view a, std::string_view b);

}  // namespace generous
