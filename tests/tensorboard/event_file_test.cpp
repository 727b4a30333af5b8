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

/// The file has these losses, from epoch 1 on, and whatever else belongs there.
void check_epochs(const fs::path& folder, const std::vector<double>& losses) {
  const std::vector<fs::path> files = event_files(folder);
  REQUIRE(files.size() == 1);
  const std::vector<ReadEvent> events = events_in(files[0]);
  REQUIRE(events.size() >= 2);
  CHECK(events[0].version == "brain.Event:2");
  CHECK(events[1].start);
  CHECK(events[1].step == 0);
  std::vector<ReadEvent> epochs;
  std::ranges::copy_if(events, std::back_inserter(epochs), [](const auto& e) { return !e.scalars.empty(); });
  REQUIRE(epochs.size() == losses.size());
  for (std::size_t i = 0; i < losses.size(); ++i) {
    CAPTURE(i);
    CHECK(epochs[i].step == static_cast<std::int64_t>(i) + 1);
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

/// Step and text of each event with settings.
std::vector<std::pair<std::int64_t, std::string>> settings_of(const fs::path& folder) {
  std::vector<std::pair<std::int64_t, std::string>> settings;
  for (const ReadEvent& event : events_in(event_files(folder).at(0)))
    if (event.texts.contains("settings")) settings.emplace_back(event.step, event.texts.at("settings"));
  return settings;
}

using Settings = std::vector<std::pair<std::int64_t, std::string>>;

struct Run {
  TemporaryFolder folder;

  /// Goes on behind epoch `last`, up to epoch `to`; what is said of the earlier file.
  std::string go_on(std::int64_t last, std::int64_t to, const std::string& settings = "  a: 1\n",
                    double shift = 0.0) const {
    EventFile file(folder.path(), settings);
    std::string note = file.keep_epochs_up_to(last);
    file.write();
    for (std::int64_t number = last + 1; number <= to; ++number) {
      file.add(epoch(number, static_cast<double>(number) + shift));
      file.write();
    }
    return note;
  }
  fs::path file() const { return event_files(folder.path()).at(0); }
};

}  // namespace

TEST_CASE("a file grows by whole epochs, under one name, which TensorBoard knows") {
  const Run run;
  const fs::path folder = run.folder.path();
  EventFile file(folder, "text");
  CHECK(event_files(folder).empty());
  file.write();
  check_epochs(folder, {});
  const fs::path path = run.file();
  CHECK(std::regex_match(path.filename().string(),
                         std::regex("events\\.out\\.tfevents\\.[0-9]{10}\\.[-.A-Za-z0-9_]+\\.generous")));
  for (int number = 1; number <= 3; ++number) {
    file.add(epoch(number, number));
    const std::string before = read_file(path);
    file.write();
    CHECK(read_file(path).starts_with(before));
    CHECK(run.file() == path);
  }
  check_epochs(folder, {1, 2, 3});
  CHECK(settings_of(folder) == Settings{{1, "text"}});
}

TEST_CASE("a run that goes on: a later file with the epochs so far, and no other") {
  const Run run;
  const fs::path folder = run.folder.path();
  CHECK(run.go_on(0, 4) == "");
  const fs::path first = run.file();
  const std::vector<ReadEvent> before = events_in(first);
  CHECK(run.go_on(2, 3, "  a: 1\n", 0.5) == "");
  check_epochs(folder, {1, 2, 3.5});
  CHECK(run.file().filename() > first.filename());
  // What is kept is as it was, its times too.
  const std::vector<ReadEvent> after = events_in(run.file());
  for (std::size_t i = 2; i < 5; ++i) CHECK(after.at(i).wall_time == before.at(i).wall_time);
  CHECK(settings_of(folder) == Settings{{1, "  a: 1\n"}});

  SUBCASE("other settings are said from their first epoch on, once") {
    run.go_on(3, 3, "b");
    run.go_on(3, 4, "c");
    check_epochs(folder, {1, 2, 3.5, 4});
    CHECK(settings_of(folder) == Settings{{1, "  a: 1\n"}, {4, "c"}});
    run.go_on(4, 5, "c");
    CHECK(settings_of(folder) == Settings{{1, "  a: 1\n"}, {4, "c"}});
    run.go_on(5, 6, "  a: 1\n");
    CHECK(settings_of(folder) == Settings{{1, "  a: 1\n"}, {4, "c"}, {6, "  a: 1\n"}});
  }
  SUBCASE("from the beginning") {
    run.go_on(0, 1);
    check_epochs(folder, {1});
    CHECK(settings_of(folder) == Settings{{1, "  a: 1\n"}});
  }
  SUBCASE("names only grow, whatever the clock says") {
    const fs::path future = folder / "events.out.tfevents.4000000000.elsewhere.generous";
    fs::rename(run.file(), future);
    run.go_on(3, 4);
    CHECK(run.file().filename().string().starts_with("events.out.tfevents.4000000001."));
    check_epochs(folder, {1, 2, 3.5, 4});
  }
}

TEST_CASE("what a killed program leaves is made whole") {
  const Run run;
  const fs::path folder = run.folder.path();
  run.go_on(0, 3);
  const std::string content = read_file(run.file());

  SUBCASE("a record that is cut off") {
    write_file_atomically(run.file(), content.substr(0, content.size() - 1));
    const std::string name = run.file().string();
    CHECK(run.go_on(2, 3) == name + ": the end is cut off or damaged, and is left out");
    check_epochs(folder, {1, 2, 3});
  }
  SUBCASE("a record that is no event") {
    write_file_atomically(run.file(), content + record_of("\xFF\xFF"));
    CHECK(run.go_on(3, 4) != "");
    check_epochs(folder, {1, 2, 3, 4});
  }
  SUBCASE("an empty file") {
    write_file_atomically(run.file(), "");
    CHECK(run.go_on(0, 1) == "");
    check_epochs(folder, {1});
  }
  SUBCASE("the file before the last one, too") {
    write_file_atomically(folder / "events.out.tfevents.1000000000.host.generous", content);
    CHECK(run.go_on(1, 2, "  a: 1\n", 0.5) == "");
    check_epochs(folder, {1, 2.5});
  }
  SUBCASE("no file") {
    fs::remove(run.file());
    CHECK(run.go_on(3, 3) == folder.string() + " has no event file: it begins after epoch 3");
  }
}

TEST_CASE("a file that somebody removes begins anew; those of others stay") {
  const Run run;
  const fs::path folder = run.folder.path();
  const fs::path others = folder / "events.out.tfevents.1700000000.host.17.0";
  write_file_atomically(others, "theirs");
  EventFile file(folder, "text");
  file.write();
  REQUIRE(event_files(folder).size() == 2);
  fs::remove(event_files(folder).back());
  file.add(epoch(1, 1.0));
  file.write();
  run.go_on(1, 2);
  CHECK(read_file(others) == "theirs");
  fs::remove(others);
  check_epochs(folder, {1, 2});
}

TEST_CASE("what cannot be written is an error that names the file, and nothing before is lost") {
  const Run run;
  const fs::path folder = run.folder.path();
  EventFile file(folder, "text");
  file.write();
  const fs::path path = run.file();
  fs::remove(path);
  fs::create_directory(path);
  file.add(epoch(1, 1.0));
  CHECK(error_of([&] { file.write(); }).starts_with("cannot write " + path.string() + ": Is a directory"));
}
