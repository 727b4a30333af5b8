// Of several processes that train together one writes the event file.
#include "tests/parallel/mpi_runs.h"
#include "tests/tensorboard/read_events.h"

namespace generous {

TEST_CASE("two processes leave one event file, with the numbers of one process") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const auto flags = [&](const std::string& name) {
    return small_run(folder / "images", folder / name) +
           Arguments{"--num_epochs", "2", "--micro_batches", "2", "--tensorboard", "1"};
  };
  completes("train_standard", flags("one"));
  completes_together(2, "train_standard", flags("two"));
  const auto files = event_files(folder / "two");
  REQUIRE(files.size() == 1);
  const std::vector<ReadEvent> expected = events_in(event_files(folder / "one").at(0));
  const std::vector<ReadEvent> found = events_in(files[0]);
  REQUIRE(found.size() == 5);  // version, start, settings, two epochs
  REQUIRE(expected.size() == 5);
  for (std::size_t i = 3; i < 5; ++i) {
    CHECK(found[i].step == static_cast<std::int64_t>(i) - 2);
    for (const char* tag : {"train/loss", "test/loss", "test/top1_percent", "logits/std"})
      CHECK(found[i].scalars.at(tag) == expected[i].scalars.at(tag));
    for (const auto& [tag, histogram] : expected[i].histograms) {
      CAPTURE(tag);
      CHECK(found[i].histograms.at(tag).counts == histogram.counts);
      CHECK(found[i].histograms.at(tag).sum == histogram.sum);
    }
  }
}

}  // namespace generous
