// The peak memory that a run tells of is its own.
#include "apps/training/memory.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>

#include "tests/apps/run_checks.h"

using namespace generous;

TEST_CASE("the peak grows with what is written to, stays, and is not that of who started the program") {
  constexpr std::size_t mib = 512;
  const std::int64_t before = peak_memory_mib();
  CHECK(before > 0);
  CHECK(before < 512);
  {
    const auto memory = std::make_unique<char[]>(mib << 20U);  // zeroed
    CHECK(memory[mib] == 0);
  }
  const std::int64_t after = peak_memory_mib();
  CHECK(after >= 512);
  CHECK(after <= before + 520);

  const TemporaryFolder folder;
  make_images(folder / "images");
  completes("train_standard", small_run(folder / "images", folder / "run") + Arguments{"--num_epochs", "1"});
  const std::string log = read_file(folder / "run" / "training.log");
  const std::string words = "; at most ";
  const std::size_t place = log.rfind(words);
  REQUIRE(place != std::string::npos);
  CHECK(place > log.rfind("done: best top-1 "));
  CHECK(log.ends_with(" MiB of memory\n"));
  const std::int64_t told = std::stoll(log.substr(place + words.size()));
  CHECK(told > 0);
  CHECK(told < 512);
}
