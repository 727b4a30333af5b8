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

TEST_CASE("empty words and lists") {
  CHECK(nearest("anything", {}).empty());
  const std::vector<std::string> words{"long", "ab", "abc"};
  CHECK(nearest("", words) == "ab");
}

}  // namespace generous
