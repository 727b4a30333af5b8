// The event file of a run that is resumed. The first byte is the epoch behind which it goes on; then come
// records, each behind a byte that is its length, up to a zero byte, and behind that whatever else is in the
// file. What is kept is kept again, and the next epoch follows it.
#include "apps/tensorboard/event_file.h"
#include "apps/tensorboard/records.h"
#include "core/files.h"
#include "tests/fuzz/fuzz.h"

using namespace generous;

namespace {

namespace fs = std::filesystem;

std::size_t remove_other_files(const fs::path& folder, const fs::path& but) {
  std::vector<fs::path> others;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path() != but) others.push_back(entry.path());
  for (const fs::path& path : others) fs::remove(path);
  return others.size();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fs::path folder = fuzz::scratch_folder() / "run";
  static const fs::path path = folder / "events.out.tfevents.1000000000.host.generous";
  fs::create_directory(folder);
  std::string_view input = fuzz::text_of(data, size);
  const std::int64_t last = fuzz::take_byte(input);
  std::string content;
  while (const std::size_t length = fuzz::take_byte(input)) {
    content += record_of(input.substr(0, length));
    input.remove_prefix(std::min(length, input.size()));
  }
  content += input;
  fuzz::put_file(path, content);

  EventFile file(folder, "settings");
  const bool damaged = !file.go_on_behind(last).empty();
  file.write();
  const std::string kept = read_file(path);
  fuzz::check(content.starts_with(kept), "nothing is kept that was not there");
  fuzz::check(read_records(kept).whole, "whole records are kept");
  fuzz::check(!damaged || kept != content, "what is damaged goes");
  file.add({.epoch = last + 1, .scalars = {{"loss", 1.0}}});
  file.write();
  fuzz::check(read_file(path) == kept, "what is kept stays");

  EventFile again(folder, "settings");
  fuzz::check(again.go_on_behind(last + 1).empty(), "nothing that is left is damaged");
  again.write();
  fuzz::check(read_file(path) == kept, "what is kept is kept again");
  fuzz::check(remove_other_files(folder, path) == 1, "the epoch has one file");
  return 0;
}
