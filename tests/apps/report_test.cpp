// What a run shows: lines that fit, the time that is left, and words that go with numbers.
#include <doctest/doctest.h>
#include <pty.h>

#include <set>

#include "apps/training/log.h"
#include "apps/training/time_left.h"
#include "core/counted.h"
#include "tests/apps/run_checks.h"

using namespace generous;
namespace fs = std::filesystem;

namespace {

/// A pseudo terminal of so many columns, whose size can change.
class Terminal {
 public:
  Terminal() { require(::openpty(&ours_, &its_, nullptr, nullptr, nullptr) == 0, "openpty failed"); }
  ~Terminal() { ::close(ours_), ::close(its_); }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  int its() const { return its_; }
  void resize(int columns) const {
    const winsize size{
        .ws_row = 24, .ws_col = static_cast<unsigned short>(columns), .ws_xpixel = 0, .ws_ypixel = 0};
    require(::ioctl(ours_, TIOCSWINSZ, &size) == 0, "TIOCSWINSZ failed");
  }
  /// What is drawn from now on: the next `count` texts that replace each other, from one of whole width on.
  std::vector<std::string> drawings(std::size_t count) {
    std::vector<std::string> found;
    while (found.size() < count) {
      char bytes[4096];
      const ssize_t got = ::read(ours_, bytes, sizeof bytes);
      if (got <= 0) return found;
      text_.append(bytes, static_cast<std::size_t>(got));
      for (std::size_t end = text_.find("\x1b[K"); end != std::string::npos; end = text_.find("\x1b[K")) {
        const std::string before = text_.substr(0, end);
        const std::string drawn = before.substr(before.rfind('\r') + 1);
        text_.erase(0, end + 3);
        if (!drawn.empty()) found.push_back(drawn);
      }
    }
    return found;
  }

 private:
  int ours_ = -1;
  int its_ = -1;
  std::string text_;
};

}  // namespace

TEST_CASE("fields are left out by rank, the last of equals first, and never the first one") {
  const std::vector<Field> fields = {
      {"epoch 7/9", 0}, {"  test", 0}, {" loss", 2}, {"  lr", 3}, {"  0:07", 2}};
  CHECK(fitted(fields, 100) == "epoch 7/9  test loss  lr  0:07");
  CHECK(fitted(fields, 29) == "epoch 7/9  test loss  0:07");
  CHECK(fitted(fields, 25) == "epoch 7/9  test loss");
  CHECK(fitted(fields, 19) == "epoch 7/9  test");
  CHECK(fitted(fields, 14) == "epoch 7/9");
  CHECK(fitted(fields, 5) == "epoch");
  CHECK(fitted({}, 5).empty());
}

TEST_CASE("the time left: averages in which a test counts, and the last minutes more than what was before") {
  TimeLeft time(50);
  CHECK_FALSE(time.seconds({.trained = 10}));
  time.trained(10, 1.0);
  time.trained(20, 2.0);
  CHECK(*time.seconds({.trained = 80}) == doctest::Approx(8.0));
  // Not tested yet: a third of a step's time. Three more epochs of 100 images, and the test of this one.
  CHECK(*time.seconds({.trained = 80, .tested = 50, .epochs = 3, .epoch_images = 100}) ==
        doctest::Approx(8.0 + 30.0 + 4 * 50 * 0.1 / 3));
  time.tested(10.0);
  CHECK(*time.seconds({.tested = 25}) == doctest::Approx(5.0));
  CHECK(*time.seconds({.epochs = 3, .epoch_images = 100}) == doctest::Approx(30.0 + 30.0));
  time.trained(10, 4.0);  // of the next epoch, four times as slow
  const double between = *time.seconds({.trained = 1});
  CHECK(between > 0.1);
  CHECK(between < 0.4);
  for (int i = 1; i < 60; ++i) time.trained(10 + i * 100, 4.0 + i * 40.0);
  CHECK(*time.seconds({.trained = 1}) == doctest::Approx(0.4).epsilon(0.001));
}

TEST_CASE("one is no plural, and what is not a number has no sign") {
  CHECK(counted(1, "epoch") == "1 epoch");
  CHECK(counted(0, "epoch") == "0 epochs");
  CHECK(counted(21, "class") == "21 classes");
  CHECK(shown(-std::numeric_limits<float>::quiet_NaN()) == "nan");
  CHECK(shown(-std::numeric_limits<double>::quiet_NaN()) == "nan");
  CHECK(shown(-std::numeric_limits<float>::infinity()) == "-inf");
  CHECK(shown(0.1F) == "0.1");
}

TEST_CASE("the progress line fits terminals of every width, time left first") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  Terminal terminal;
  terminal.resize(200);
  RunningProgram program("train_standard",
                         small_run(folder / "images", folder / "run") + Arguments{"--num_epochs", "100000"},
                         {.out = terminal.its()});
  std::map<int, std::string> longest;
  for (const int columns : {200, 80, 60, 40, 12}) {
    terminal.resize(columns);
    terminal.drawings(2);  // of before
    for (const std::string& drawn : terminal.drawings(6)) {
      CAPTURE(drawn);
      CHECK(static_cast<int>(drawn.size()) < columns);
      std::string& kept = longest[columns];
      if (drawn.size() > kept.size()) kept = drawn;
    }
  }
  program.send(SIGKILL);
  program.wait();
  for (const auto& line : longest) {
    const int columns = line.first;
    const std::string& drawn = line.second;
    CAPTURE(columns);
    CAPTURE(drawn);
    CHECK((columns < 40 || contains(drawn, " left  epoch ")));
    CHECK(contains(drawn, "images/s") == (columns >= 80));
    CHECK(contains(drawn, " left  [") == (columns == 200));
  }
}

TEST_CASE("the line of an epoch fits 100 columns whatever is measured, and has what matters most") {
  const TemporaryFolder folder;
  make_images(folder / "images");
  const std::string out = completes(
      "train_standard", small_run(folder / "images", folder / "run") +
                            Arguments{"--num_epochs", "2", "--validation", "9", "--ema_decay", "0.5"});
  completes("train_standard",
            small_run(folder / "images", folder / "teacher") + Arguments{"--num_epochs", "1"});
  const std::string one =
      completes("train_kd", small_run(folder / "images", folder / "student") +
                                Arguments{"--num_epochs", "1", "--method", "kd,at", "--teacher_resume",
                                          (folder / "teacher").string()});
  int lines = 0;
  for (const std::string& text : {out, one}) {
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) {
      if (!line.starts_with("epoch ")) continue;
      CAPTURE(line);
      ++lines;
      CHECK(line.size() <= 100);
      CHECK(contains(line, "  train "));
      CHECK(contains(line, "  test "));
      CHECK(contains(line, "  validation ") == (text == out));
      CHECK(contains(line, " average ") == (text == out));
    }
  }
  CHECK(lines == 3);
  const std::string again = completes("train_kd", {"--save_path", (folder / "student").string(), "--resume"});
  CHECK(contains(again, "is complete: 1 epoch, best"));
}
