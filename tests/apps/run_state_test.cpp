// What a resumed run does with tables that were lost or cut, and with states that no run has written.
#include <fmt/ranges.h>

#include <limits>
#include <sstream>

#include "apps/training/weights_origin.h"
#include "tests/apps/run_checks.h"

using namespace generous;
namespace fs = std::filesystem;

namespace {

constexpr int time_columns = 2;

/// A run that stopped in its third epoch, after step 14 of 18.
struct Stopped {
  TemporaryFolder folder;
  fs::path images = folder / "images";
  fs::path path = folder / "run";
  fs::path state = path / "training_state.safetensors";
  fs::path metrics = path / "metrics.csv";
  fs::path steps = path / "steps.csv";
  Arguments resume = {"--save_path", path.string(), "--resume"};

  Stopped() {
    make_images(images);
    completes("train_standard", small_run(images, path) +
                                    Arguments{"--num_epochs", "3", "--log_steps", "1", "--max_steps", "14"});
  }
};

std::vector<std::string> cells_of(const std::string& row) {
  std::vector<std::string> cells;
  std::istringstream in(row);
  for (std::string cell; std::getline(in, cell, ',');) cells.push_back(cell);
  return cells;
}

void cut(const fs::path& file, std::size_t bytes) {
  const std::string text = read_file(file);
  write_text(file, text.substr(0, text.size() - bytes));
}

}  // namespace

TEST_CASE("tables that were lost, cut or have Windows' line ends: rows are rebuilt or their loss is said") {
  const Stopped run;
  const fs::path straight = run.folder / "straight";
  completes("train_standard",
            small_run(run.images, straight) + Arguments{"--num_epochs", "3", "--log_steps", "1"});
  std::string note;
  bool steps_whole = true;
  bool times_whole = false;
  SUBCASE("no metrics") {
    fs::remove(run.metrics);
    note = "metrics.csv lacked 2 of 2 epochs, back from the training state without images_per_s";
  }
  SUBCASE("a cut row of metrics") {
    cut(run.metrics, 3);
    note = "metrics.csv lacked 1 of 2 epochs";
  }
  SUBCASE("a changed row of metrics") {
    std::string text = read_file(run.metrics);
    text[text.find("\n1,0.1,") + 5] = '2';
    write_text(run.metrics, text);
    note = "metrics.csv lacked 1 of 2 epochs";
  }
  SUBCASE("Windows' line ends") {
    std::string text;
    for (const char c : read_file(run.metrics)) text += c == '\n' ? std::string("\r\n") : std::string(1, c);
    write_text(run.metrics, text);
    times_whole = true;
  }
  SUBCASE("a cut row of steps") {
    cut(run.steps, 3);
    note = "steps.csv: the last row was cut off, and is left out";
    steps_whole = false;
    times_whole = true;
  }
  SUBCASE("no steps") {
    fs::remove(run.steps);
    note = "steps.csv is missing: it begins again after step 14";
    steps_whole = false;
    times_whole = true;
  }
  const std::string out = completes("train_standard", run.resume);
  CAPTURE(out);
  CHECK(contains(out, note));
  CHECK(contains(read_file(run.path / "training.log"), note));
  CHECK(contains(out, "csv") == !note.empty());
  CHECK(csv_rows(run.metrics, time_columns) == csv_rows(straight / "metrics.csv", time_columns));
  CHECK(contains(read_file(run.metrics), ",,\n") == !times_whole);
  CHECK((csv_rows(run.steps) == csv_rows(straight / "steps.csv")) == steps_whole);
  CHECK(read_file(run.state) == read_file(straight / "training_state.safetensors"));
}

TEST_CASE("tables and a state of before top-5, with a column twice: read, and written as they are now") {
  const Stopped run;
  const fs::path straight = run.folder / "straight";
  completes("train_standard",
            small_run(run.images, straight) + Arguments{"--num_epochs", "3", "--log_steps", "1"});
  // epoch, lr, train_loss, train top-1, test_loss, test top-1, top-5, images_per_s, seconds
  const auto before = [](const std::vector<std::string>& cells, std::size_t count) {
    const std::vector<std::string> all = {cells[0], cells[1], cells[2],  cells[2], cells[3],
                                          cells[4], cells[5], "1500.25", "2.5"};
    std::string row = all[0];
    for (std::size_t i = 1; i < count; ++i) row += "," + all[i];
    return row;
  };
  std::string metrics =
      "epoch,lr,cross_entropy,train_loss,train_accuracy,test_loss,test_accuracy,images_per_s,seconds\n";
  std::vector<std::string> saved;
  for (const std::string& row : csv_rows(run.metrics))
    if (!row.starts_with("epoch")) {
      metrics += before(cells_of(row), 9) + "\n";
      saved.push_back(before(cells_of(row), 7));
    }
  std::string steps = "step,loss,cross_entropy,lr\n";
  for (const std::string& row : csv_rows(run.steps))
    if (const auto cells = cells_of(row); cells[0] != "step")
      steps += fmt::format("{},{},{},{}\n", cells[0], cells[1], cells[1], cells[2]);
  write_text(run.steps, steps);
  change_metadata(run.state, [&](auto& metadata) { metadata["metrics"] = list_to_json(saved); });
  bool lost = false;
  SUBCASE("all of it") { write_text(run.metrics, metrics); }
  SUBCASE("the state alone") {
    lost = true;
    fs::remove(run.metrics);
  }
  const std::string out = completes("train_standard", run.resume);
  CAPTURE(out);
  CHECK(contains(out, "lacked 2 of 2 epochs") == lost);
  const std::vector<std::string> expected = csv_rows(straight / "metrics.csv");
  const std::vector<std::string> found = csv_rows(run.metrics);
  REQUIRE(found.size() == 4);
  CHECK(found[0] == expected[0]);
  for (std::size_t i = 1; i < 4; ++i) {
    std::vector<std::string> cells = cells_of(expected[i]);
    cells.resize(7);
    if (i < 3) cells[6] = "";  // top-5 was not known
    CHECK(found[i].starts_with(fmt::format("{},", fmt::join(cells, ","))));
    if (i < 3) CHECK(found[i].ends_with(lost ? ",," : ",1500.25,2.5"));
  }
  CHECK(csv_rows(run.steps) == csv_rows(straight / "steps.csv"));
}

TEST_CASE("metrics that are lost with a state that has none: said, and the rest goes on") {
  const Stopped run;
  make_old_state(run.state);
  fs::remove(run.metrics);
  CHECK(contains(completes("train_standard", run.resume),
                 "metrics.csv has 0 of 2 epochs, and the training state"));
  CHECK(csv_rows(run.metrics).size() == 2);
  completes("train_standard", run.resume + Arguments{"--num_epochs", "4"});
  CHECK(csv_rows(run.metrics).size() == 3);
}

TEST_CASE("a state that no run can have written is refused, and nothing is changed") {
  const Stopped run;
  struct Forgery {
    std::map<std::string, std::string> values;
    std::string complaint;
  };
  const std::vector<Forgery> forgeries = {
      {{{"sum_images", "0"}, {"sum_correct", "0"}}, "2 steps of an epoch take 16 images, not 0"},
      {{{"sum_images", "15"}}, "2 steps of an epoch take 16 images, not 15"},
      {{{"sum_images", "43"}}, "of the epoch's 42 images 43 were seen"},
      {{{"sum_correct", "17"}}, "16 were seen and 17 recognised"},
      {{{"epoch", "9223372036854775807"}}, "it is in epoch 9223372036854775807"},
      {{{"epoch", "9223372036854775808"}}, "epoch = '9223372036854775808'"},
      {{{"epoch", "-1"}}, "epoch = '-1'"},
      {{{"epoch", "1"}}, "its best epoch is"},
      {{{"epoch", "1"}, {"best_epoch", "1"}}, "1 epoch of 6 steps and 2 more are not its 14 steps"},
      {{{"step_in_epoch", "7"}}, "2 epochs of 6 steps and 7 more are not its 14 steps"},
      {{{"step_in_epoch", "7"}, {"step", "19"}}, "2 epochs of 6 steps and 7 more are not its 19 steps"},
      {{{"step", "13"}}, "are not its 13 steps"},
      {{{"step", "0"}}, "are not its 0 steps"},
      {{{"best_epoch", "3"}}, "its best epoch is 3 of 2"},
      {{{"best_epoch", "0"}}, "its best epoch is 0 of 2"},
      {{{"best_accuracy", "100.5"}}, "its best accuracy is 100.5 %"},
      {{{"best_accuracy", "-1"}}, "its best accuracy is -1 %"},
      {{{"best_accuracy", "nan"}}, "best_accuracy = 'nan'"},
      {{{"best_test_accuracy", "101"}}, "its best accuracy is 101 %"},
      {{{"best_test_accuracy", "50"}}, "its best_test_accuracy does not go with validation"},
      {{{"ema_best_epoch", "2"}}, "its metadata has no 'ema_best_accuracy'"},
      {{{"ema_best_epoch", "2"}, {"ema_best_accuracy", "50"}}, "it has 0 tensors of averaged weights"},
      {{{"sum_seconds", "-3"}}, "its epoch took -3 seconds"},
      {{{"sum_loss", "inf"}}, "sum_loss = 'inf'"},
      {{{"train_images", "0"}}, "it has no training images"},
      {{{"terms", "0"}}, "0 loss terms, this program has 1"},
      {{{"threads", "x"}}, "threads = 'x'"},
      {{{"classes", "{}"}}, "classes: expected a list of texts"},
      {{{"hashes", "[]"}}, "hashes = []"},
      {{{"hashes", R"({"training images":1})"}}, "hashes = "},
      {{{"metrics", R"(["1,2"])"}}, "'1,2' is not the beginning of a row of epoch,lr,"},
      {{{"metrics", "3"}}, "metrics: expected a list of texts"},
  };
  const std::string state = read_file(run.state);
  // So that one forgery means one thing.
  change_metadata(run.state, [](auto& metadata) {
    metadata["best_epoch"] = "2";
    metadata["sum_correct"] = "3";
  });
  const std::string sound = read_file(run.state);
  for (const Forgery& forgery : forgeries) {
    write_text(run.state, sound);
    change_metadata(run.state, [&](auto& metadata) {
      for (const auto& [key, value] : forgery.values) metadata[key] = value;
    });
    const auto before = content_of(run.path);
    refuses("train_standard", run.resume, {run.state.string(), forgery.complaint});
    CHECK(content_of(run.path) == before);
  }
  for (const char* name : {"model.conv1.weight", "optimizer.velocity.conv1.weight"}) {
    write_text(run.state, sound);
    SafetensorsFile file = read_safetensors(run.state);
    const auto found = std::ranges::find(file.tensors, name, [](const auto& entry) { return entry.first; });
    REQUIRE(found != file.tensors.end());
    found->second.data<float>()[3] = std::numeric_limits<float>::quiet_NaN();
    write_safetensors(run.state, file.tensors, file.metadata);
    refuses("train_standard", run.resume, {run.state.string(), "conv1.weight", "nan"});
  }
  write_text(run.state, state);
  completes("train_standard", run.resume);
}
