// A run's event file: what is in it, and that each epoch is there once however often the run goes on.
#include "apps/tensorboard/event_file.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <regex>

#include "tests/temporary_folder.h"
#include "tests/tensorboard/read_events.h"

using namespace generous;
namespace fs = std::filesystem;

namespace {

EpochSummary epoch(std::int64_t number, double loss) {
  return {.epoch = number,
          .scalars = {{"test/loss", loss}, {"learning_rate", 0.1}},
          .histograms = {{"weights", histogram_of(std::vector<float>{0.5F, 1.5F, 1.5F})}}};
}

/// The files have these losses, from epoch 1 on, each once.
void check_epochs(const fs::path& folder, const std::vector<double>& losses) {
  const std::vector<ReadEvent> epochs = epochs_of(folder);
  REQUIRE(epochs.size() == losses.size());
  for (std::size_t i = 0; i < losses.size(); ++i) {
    CAPTURE(i);
    CHECK(epochs[i].scalars == std::map<std::string, float>{{"test/loss", static_cast<float>(losses[i])},
                                                            {"learning_rate", 0.1F}});
    CHECK(epochs[i].wall_time > 1.7e9);
    REQUIRE(epochs[i].histograms.contains("weights"));
    const Histogram& histogram = epochs[i].histograms.at("weights");
    CHECK(histogram.smallest == 0.5);
    CHECK(histogram.largest == 1.5);
    CHECK(histogram.count == 3.0);
    CHECK(histogram.sum == 3.5);
    CHECK(histogram.sum_of_squares == 4.75);
    CHECK(histogram.limits.size() == 30);
    CHECK(histogram.counts.front() == 1.0);
    CHECK(histogram.counts.back() == 2.0);
  }
}

using Settings = std::vector<std::pair<std::int64_t, std::string>>;

/// Step and text of each event with settings.
Settings settings_of(const fs::path& folder) {
  Settings settings;
  for (const fs::path& file : event_files(folder))
    for (const ReadEvent& event : events_in(file))
      if (event.texts.contains("settings")) settings.emplace_back(event.step, event.texts.at("settings"));
  return settings;
}

struct Run {
  TemporaryFolder folder;

  /// Goes on behind epoch `last`, up to epoch `to`; what is said of the earlier files.
  std::vector<std::string> go_on(std::int64_t last, std::int64_t to, const std::string& settings = "  a: 1\n",
                                 double shift = 0.0) const {
    EventFile file(folder.path(), settings);
    std::vector<std::string> notes = file.go_on_behind(last);
    file.write();
    for (std::int64_t number = last + 1; number <= to; ++number) {
      file.add(epoch(number, static_cast<double>(number) + shift));
      file.write();
    }
    return notes;
  }
  std::vector<fs::path> files() const { return event_files(folder.path()); }
};

}  // namespace

TEST_CASE("a file grows by whole epochs, under a name that TensorBoard knows") {
  const Run run;
  const fs::path folder = run.folder.path();
  EventFile file(folder, "text");
  file.write();
  CHECK(run.files().empty());  // of no epoch
  std::string before;
  for (int number = 1; number <= 3; ++number) {
    file.add(epoch(number, number));
    CHECK(run.files().empty() == (number == 1));
    file.write();
    REQUIRE(run.files().size() == 1);
    const std::string after = read_file(run.files()[0]);
    CHECK(after.size() > before.size());
    CHECK(after.starts_with(before));
    before = after;
  }
  check_epochs(folder, {1, 2, 3});
  CHECK(settings_of(folder) == Settings{{1, "text"}});
  CHECK(std::regex_match(run.files()[0].filename().string(),
                         std::regex("events\\.out\\.tfevents\\.[0-9]{10}\\.[-.A-Za-z0-9_]+\\.generous")));
}

TEST_CASE("a run that goes on from where it was: a file more, and those before it as they are") {
  const Run run;
  const fs::path folder = run.folder.path();
  CHECK(run.go_on(0, 2).empty());
  const std::string before = read_file(run.files()[0]);
  CHECK(run.go_on(2, 2).empty());  // stopped in epoch 3
  CHECK(run.go_on(2, 5).empty());
  REQUIRE(run.files().size() == 2);
  CHECK(read_file(run.files()[0]) == before);
  check_epochs(folder, {1, 2, 3, 4, 5});
  CHECK(settings_of(folder) == Settings{{1, "  a: 1\n"}});

  SUBCASE("other settings are said from their first epoch on, once") {
    run.go_on(5, 5, "b");
    run.go_on(5, 6, "c");
    CHECK(settings_of(folder) == Settings{{1, "  a: 1\n"}, {6, "c"}});
    run.go_on(6, 7, "c");
    CHECK(settings_of(folder) == Settings{{1, "  a: 1\n"}, {6, "c"}});
    run.go_on(7, 8, "  a: 1\n");
    CHECK(settings_of(folder) == Settings{{1, "  a: 1\n"}, {6, "c"}, {8, "  a: 1\n"}});
    check_epochs(folder, {1, 2, 3, 4, 5, 6, 7, 8});
  }
  SUBCASE("names only grow, whatever the clock says") {
    fs::rename(run.files()[1], folder / "events.out.tfevents.4000000000.elsewhere.generous");
    run.go_on(5, 6);
    REQUIRE(run.files().size() == 3);
    CHECK(run.files()[2].filename().string().starts_with("events.out.tfevents.4000000001."));
    check_epochs(folder, {1, 2, 3, 4, 5, 6});
  }
}

TEST_CASE("a run that goes on from before what its files have: they are cut back") {
  const Run run;
  const fs::path folder = run.folder.path();
  run.go_on(0, 3);
  run.go_on(3, 6, "b");
  run.go_on(6, 8, "c");
  const std::vector<ReadEvent> before = epochs_of(folder);
  std::int64_t last = 0;
  SUBCASE("in the last one") { last = 7; }
  SUBCASE("in one before it") { last = 5; }
  SUBCASE("to the end of the first one") { last = 3; }
  SUBCASE("in the first one") { last = 1; }
  SUBCASE("to the beginning") { last = 0; }
  CAPTURE(last);
  const std::vector<fs::path> files = run.files();
  CHECK(run.go_on(last, last + 1, "d", 0.5).empty());
  CHECK(run.files().size() == 4);
  for (const fs::path& file : files) CHECK(fs::exists(file));
  std::vector<double> losses;
  for (std::int64_t number = 1; number <= last; ++number) losses.push_back(static_cast<double>(number));
  losses.push_back(static_cast<double>(last) + 1.5);
  check_epochs(folder, losses);
  const std::vector<ReadEvent> after = epochs_of(folder);
  for (std::size_t i = 0; i + 1 < after.size(); ++i) CHECK(after[i].wall_time == before[i].wall_time);
  Settings settings = {{1, "  a: 1\n"}, {4, "b"}, {7, "c"}};
  std::erase_if(settings, [&](const auto& entry) { return entry.first > last; });
  settings.emplace_back(last + 1, "d");
  CHECK(settings_of(folder) == settings);
}

TEST_CASE("what a killed program leaves is made whole") {
  const Run run;
  const fs::path folder = run.folder.path();
  run.go_on(0, 3);
  const fs::path file = run.files()[0];
  const std::string content = read_file(file);
  const std::vector<std::string> damaged = {file.string() +
                                            ": the end is cut off or damaged, and is left out"};

  SUBCASE("a record that is cut off") {
    write_file_atomically(file, content.substr(0, content.size() - 1));
    CHECK(run.go_on(2, 3) == damaged);
    check_epochs(folder, {1, 2, 3});
  }
  SUBCASE("a record that is no event") {
    write_file_atomically(file, content + record_of("\xFF\xFF"));
    CHECK(run.go_on(3, 4) == damaged);
    check_epochs(folder, {1, 2, 3, 4});
  }
  SUBCASE("before an epoch is over: the end goes at once") {
    write_file_atomically(file, content + "cut");
    CHECK(run.go_on(3, 3) == damaged);
    CHECK(read_file(file) == content);
  }
  SUBCASE("no file") {
    fs::remove(file);
    CHECK(run.go_on(3, 3) ==
          std::vector<std::string>{folder.string() + " has no event file: it begins after epoch 3"});
  }
}

TEST_CASE("a file that somebody removes goes on; those of others stay") {
  const Run run;
  const fs::path folder = run.folder.path();
  const fs::path others = folder / "events.out.tfevents.1700000000.host.17.0";
  write_file_atomically(others, "theirs");
  EventFile file(folder, "text");
  file.add(epoch(1, 1.0));
  file.write();
  REQUIRE(run.files().size() == 2);
  fs::remove(run.files()[1]);
  file.add(epoch(2, 2.0));
  file.write();
  REQUIRE(run.files().size() == 2);
  CHECK(events_in(run.files()[1]).at(0).scalars.at("test/loss") == 2.0F);
  run.go_on(0, 1);
  CHECK(read_file(others) == "theirs");
}

TEST_CASE("what cannot be written is an error that names the file") {
  const Run run;
  EventFile file(run.folder.path(), "text");
  file.add(epoch(1, 1.0));
  file.write();
  const fs::path path = run.files()[0];
  fs::remove(path);
  fs::create_directory(path);
  file.add(epoch(2, 2.0));
  CHECK(error_of([&] { file.write(); }).starts_with("cannot write " + path.string() + ": Is a directory"));
}
