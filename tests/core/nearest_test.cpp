#include "core/nearest.h"

#include <doctest/doctest.h>

#include <vector>

namespace generous {

TEST_CASE("the candidate with the fewest edits is the nearest") {
  const std::vector<std::string> words{"num_epochs", "batch_size", "learning_rate", "schedule", "gamma"};
  CHECK(nearest("num_epoch", words) == "num_epochs");         // deleted
  CHECK(nearest("bach_size", words) == "batch_size");         // deleted
  CHECK(nearest("scheddule", words) == "schedule");           // inserted
  CHECK(nearest("gomma", words) == "gamma");                  // replaced
  CHECK(nearest("laerning_rate", words) == "learning_rate");  // swapped
  CHECK(nearest("gamma", words) == "gamma");
}

TEST_CASE("a swap of neighbours is one edit, and of equals the first wins") {
  const std::vector<std::string> words{"acbx", "bac"};
  CHECK(nearest("abc", words) ==
        "bac");  // without swaps both would be two edits away and the first would win
  const std::vector<std::string> equals{"cat", "car", "cab"};
  CHECK(nearest("ca", equals) == "cat");
}

TEST_CASE("a word is suggested only where it is near") {
  const std::vector<std::string> words{"num_epochs", "batch_size", "seed", "T"};
  CHECK(near_word("sead", words) == "seed");
  CHECK(near_word("num_epocs", words) == "num_epochs");
  CHECK(near_word("batches", words).empty());
  CHECK(near_word("x", words).empty());
  CHECK(near_word("", words).empty());
  CHECK(near_word("seed", {}).empty());
  CHECK(suggestion("sede", words) == " (did you mean 'seed'?)");
  CHECK(suggestion("frost", words).empty());
}

TEST_CASE("empty words and lists") {
  CHECK(nearest("anything", {}).empty());
  const std::vector<std::string> words{"long", "ab", "abc"};
  CHECK(nearest("", words) == "ab");
}

}  // namespace generous
