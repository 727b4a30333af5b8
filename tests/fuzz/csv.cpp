// metrics.csv of a run that is resumed. The first byte is how many rows are kept; behind a zero byte come
// rows without their last column, as the training state has them, under their heading or without it. What is
// kept and written is kept again.
#include "apps/training/csv.h"

#include "core/files.h"
#include "tests/fuzz/fuzz.h"

using namespace generous;

namespace {

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::filesystem::path path = fuzz::scratch_folder() / "metrics.csv";
  static const std::vector<std::string> columns = {"epoch", "lr", "loss"};
  std::string_view input = fuzz::text_of(data, size);
  const std::int64_t last = fuzz::take_byte(input);
  const std::string_view text = input.substr(0, input.find('\0'));
  input.remove_prefix(std::min(text.size() + 1, input.size()));
  fuzz::put_file(path, text);
  CsvFile file(path, columns);
  if (!fuzz::accepted([&] { file.keep_rows_up_to(last); })) return 0;
  fuzz::check(file.size() <= static_cast<std::size_t>(last), "no more rows than asked for");

  file.write();
  const std::string written = read_file(path);
  fuzz::check(written.starts_with("epoch,lr,loss\n"), "the header is there");
  CsvFile again(path, columns);
  fuzz::check(!again.keep_rows_up_to(last), "nothing that is written is cut");
  again.write();
  fuzz::check(read_file(path) == written, "kept rows are kept again");

  std::vector<std::string> rows = lines_of(input);
  if (!fuzz::accepted([&] { file.complete(rows, 1, "state"); })) return 0;
  if (!rows.empty() && rows.front() == file.heading_without(1)) rows.erase(rows.begin());
  fuzz::check(file.rows_without(1) == rows, "the rows are the state's");
  return 0;
}
