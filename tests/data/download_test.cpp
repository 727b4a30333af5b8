// data/download.sh, from a server on loopback. The files are Fashion-MNIST's own: those of Debian's package,
// with the names and times in the gzip headers that the originals have and the package leaves out.
#include <doctest/doctest.h>

#include <chrono>
#include <functional>

#include "tests/apps/program_runs.h"
#include "tests/data/data_files.h"
#include "tests/data/file_server.h"

namespace generous {
namespace {

namespace fs = std::filesystem;

const std::string train_labels = "train-labels-idx1-ubyte.gz";

std::string original(const std::string& name, std::uint32_t time) {
  const std::string stripped = read_file("/usr/share/datasets/fashion-mnist/" + name);
  std::string header("\x1f\x8b\x08\x08", 4);  // gzip, deflated, with a name
  for (const int shift : {0, 8, 16, 24}) header.push_back(static_cast<char>(time >> shift));
  return header + std::string("\0\x03", 2) + name.substr(0, name.size() - 3) + '\0' + stripped.substr(10);
}

std::map<std::string, std::string> original_files() {
  return {{train_labels, original(train_labels, 1504176606)},
          {"t10k-labels-idx1-ubyte.gz", original("t10k-labels-idx1-ubyte.gz", 1504176627)},
          {"train-images-idx3-ubyte.gz", original("train-images-idx3-ubyte.gz", 1504176606)},
          {"t10k-images-idx3-ubyte.gz", original("t10k-images-idx3-ubyte.gz", 1504176627)}};
}

bool can_test() {
  const bool can =
      fs::exists("/usr/share/datasets/fashion-mnist/" + train_labels) && fs::exists("/usr/bin/curl");
  if (!can) MESSAGE("skipped: needs curl and dataset-fashion-mnist");
  return can;
}

bool within_seconds(int seconds, const std::function<bool()>& happens) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (!happens()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

struct Download {
  TemporaryFolder root;
  fs::path folder = root / "some where" / "fashion-mnist";
  fs::path work = root / "some where" / "fashion-mnist.download";
  fs::path part = work / (train_labels + ".part");

  Arguments arguments() const {
    return {std::string(GENEROUS_SOURCE_DIR) + "/data/download.sh", "fashion_mnist", folder.string()};
  }
  Finished run(const FileServer& server) const {
    ::setenv("GENEROUS_MIRROR", server.url().c_str(), 1);
    return run_app("/usr/bin/bash", arguments());
  }
};

// Only the first file is there to be had, so that each run ends soon.
FileServer::Options first_file() { return {.files = {{train_labels, original(train_labels, 1504176606)}}}; }

TEST_CASE("all files are downloaded, verified and put in place in one step; the second run finds them") {
  if (!can_test()) return;
  const Download download;
  const std::map<std::string, std::string> files = original_files();
  const FileServer server({.files = files});
  const Finished first = download.run(server);
  CHECK(first.err.find("error") == std::string::npos);
  REQUIRE(first.exit_code == 0);
  CHECK(first.out.ends_with("fashion_mnist is in " + download.folder.string() + "\n"));
  for (const auto& [name, content] : files) CHECK(read_file(download.folder / name) == content);
  CHECK_FALSE(fs::exists(download.work));
  const std::size_t requests = server.requests().size();
  const Finished second = download.run(server);
  CHECK(second.exit_code == 0);
  CHECK(second.out == "fashion_mnist is already there: " + download.folder.string() + "\n");
  CHECK(server.requests().size() == requests);
}

TEST_CASE("whatever was there of a file, the file arrives") {
  if (!can_test()) return;
  const Download download;
  FileServer::Options options = first_file();
  const std::string& content = options.files[train_labels];
  std::vector<std::string> requests = {train_labels + " from 10000"};
  std::string note;
  SUBCASE("its beginning: the rest is downloaded") { write_text(download.part, content.substr(0, 10000)); }
  SUBCASE("all of it: nothing is downloaded") {
    write_text(download.part, content);
    requests = {};
  }
  SUBCASE("its beginning, damaged") {
    write_text(download.part, std::string(10000, 'x'));
    requests.push_back(train_labels + " from 0");
    note = "what was there of " + download.part.string() + " is damaged: starting again\n";
  }
  SUBCASE("as many bytes, damaged") {
    write_text(download.part, std::string(content.size(), 'x'));
    requests = {train_labels + " from 0"};
    note = "what was there of " + download.part.string() + " is damaged: starting again\n";
  }
  SUBCASE("more than the file has") {
    write_text(download.part, content + "and more");
    requests = {train_labels + " from 0"};
    note = download.part.string() + " is longer than the file: starting again\n";
  }
  SUBCASE("its beginning, and a server that cannot go on there") {
    write_text(download.part, content.substr(0, 10000));
    options.ranges = false;
    requests.push_back(train_labels + " from 0");
    note = " cannot be resumed: starting again\n";
  }
  requests.push_back("t10k-labels-idx1-ubyte.gz from 0");
  const std::string expected = content;
  const FileServer server(std::move(options));
  const Finished finished = download.run(server);
  CHECK(finished.exit_code == 1);  // there is no second file
  CHECK(contains(finished.err, "t10k-labels-idx1-ubyte.gz could not be downloaded"));
  CHECK(read_file(download.work / train_labels) == expected);
  CHECK(server.requests() == requests);
  CHECK(contains(finished.out, note));
}

TEST_CASE("another file than expected is refused, and the next run starts anew") {
  if (!can_test()) return;
  const Download download;
  FileServer::Options options = first_file();
  options.files[train_labels].back() ^= 1;
  const FileServer server(std::move(options));
  for (int run = 0; run < 2; ++run) {
    const Finished finished = download.run(server);
    CHECK(finished.exit_code == 1);
    CHECK(contains(finished.err, " has MD5 "));
    CHECK(contains(finished.err, ", expected 25c81989df183df01b3e8a0aad5dffbe: the bad file was removed"));
    CHECK_FALSE(fs::exists(download.part));
  }
  CHECK(server.requests() == std::vector<std::string>(2, train_labels + " from 0"));
}

TEST_CASE("a second process on the same folder is refused, and the first is undisturbed") {
  if (!can_test()) return;
  const Download download;
  FileServer::Options options = first_file();
  options.held_back = 10000;
  FileServer server(std::move(options));
  ::setenv("GENEROUS_MIRROR", server.url().c_str(), 1);
  RunningProgram first("/usr/bin/bash", download.arguments());
  const auto some_bytes = [&] { return fs::exists(download.part) && fs::file_size(download.part) > 0; };
  REQUIRE(within_seconds(20, some_bytes));
  const std::string begun = std::to_string(fs::file_size(download.part));
  const Finished second = download.run(server);
  CHECK(second.exit_code == 1);
  CHECK(second.err == "error: another download.sh is at work on " + download.folder.string() +
                          " (it holds the lock of " + download.work.string() + "): wait for it\n");
  CHECK(std::to_string(fs::file_size(download.part)) == begun);

  SUBCASE("the first goes on") {
    server.release();
    CHECK(first.wait() == 1);  // there is no second file
    CHECK(fs::exists(download.work / train_labels));
  }
  SUBCASE("the first is killed: its curl ends with it, and the lock is free") {
    first.send(SIGKILL);
    first.wait();
    server.release();
    Finished third;
    CHECK(within_seconds(20, [&] {
      third = download.run(server);
      return !contains(third.err, "another download.sh");
    }));
    CHECK(fs::exists(download.work / train_labels));
    CHECK(server.requests()[1] == train_labels + " from " + begun);
  }
}

}  // namespace
}  // namespace generous
