// Tables of rows that begin with a count: what is kept of a file that was cut, edited or lost.
#include "apps/training/csv.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "tests/apps/program_runs.h"

using namespace generous;
namespace fs = std::filesystem;

namespace {

const std::vector<std::string> columns = {"epoch", "loss", "seconds"};
using Rows = std::vector<std::string>;

struct Table {
  TemporaryFolder folder;
  fs::path path = folder / "table.csv";
  CsvFile csv{path, columns};
};

}  // namespace

TEST_CASE("what is written is read again, up to the row asked for") {
  Table table;
  CHECK_FALSE(table.csv.keep_rows_up_to(9));  // no file, no rows
  table.csv.write();
  CHECK(read_file(table.path) == "epoch,loss,seconds\n");
  for (const int epoch : {1, 2, 3}) table.csv.add_row(epoch, {exact(0.5 / epoch), "7"});
  table.csv.write();
  CsvFile again(table.path, columns);
  CHECK_FALSE(again.keep_rows_up_to(2));
  CHECK(again.rows_without(0) == Rows{"1,0.5,7", "2,0.25,7"});
  CHECK(again.rows_without(1) == Rows{"1,0.5", "2,0.25"});
}

TEST_CASE("Windows' line ends, a last row that is cut off, a header that is cut off") {
  Table table;
  write_text(table.path, "epoch,loss,seconds\r\n1,0.5,7\r\n2,0.25,7\r\n");
  CHECK_FALSE(table.csv.keep_rows_up_to(9));
  table.csv.write();
  const std::string whole = "epoch,loss,seconds\n1,0.5,7\n2,0.25,7\n";
  CHECK(read_file(table.path) == whole);
  for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
    CAPTURE(bytes);
    write_text(table.path, whole.substr(0, bytes));
    const auto rows = static_cast<std::size_t>(std::max<std::ptrdiff_t>(
        std::count(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(bytes), '\n') - 1, 0));
    CHECK(table.csv.keep_rows_up_to(9) == (bytes > 0 && whole[bytes - 1] != '\n'));
    CHECK(table.csv.size() == rows);
  }
}

TEST_CASE("another header and rows that are none: an error that names the file and shows the line") {
  Table table;
  const auto message = [&](const std::string& text) {
    write_text(table.path, text);
    const std::string error = error_of([&] { table.csv.keep_rows_up_to(9); });
    CHECK(contains(error, table.path.string()));
    return error;
  };
  CHECK(contains(message("epoch,loss\n"),
                 "the first line is 'epoch,loss', but this run writes 'epoch,loss,sec"));
  CHECK(contains(message("epoch,loss,minutes"), "the first line is 'epoch,loss,minutes'"));
  const std::string header = "epoch,loss,seconds\n";
  for (const char* row :
       {"", "x,1,2", "1,2", "1,2,3,4", "0,1,2", "-1,1,2", "1 ,1,2", "99999999999999999999,1,2"})
    CHECK(contains(message(header + row + "\n"), std::string("'") + row + "' is not a row"));
  CHECK(contains(message(header + "1,0,0\n1,0,0\n"), "a row for 1 follows the one for 1"));
  CHECK(contains(message(header + "2,0,0\n1,0,0\n"), "a row for 1 follows the one for 2"));
}

TEST_CASE(
    "a table with the columns of before is read: other names, columns that went and columns that came") {
  const TemporaryFolder folder;
  const fs::path path = folder / "table.csv";
  CsvFile csv(path, {"epoch", "top1", "loss", "top5", "seconds"},
              {.columns = {"epoch", "same", "loss", "accuracy", "seconds"}, .names = {{"top1", "accuracy"}}});
  write_text(path, "epoch,same,loss,accuracy,seconds\n1,0.5,0.5,70,9\n2,0.25,0.125,80,8\n");
  CHECK_FALSE(csv.keep_rows_up_to(9));
  CHECK(csv.rows_without(0) == Rows{"1,70,0.5,,9", "2,80,0.125,,8"});
  CHECK(csv.complete({"1,0.5,0.5,70", "2,0.25,0.125,80", "3,0,0,90"}, 1, "state") == 1);
  CHECK(csv.rows_without(0) == Rows{"1,70,0.5,,9", "2,80,0.125,,8", "3,90,0,,"});
  CHECK(csv.heading_without(1) == "epoch,top1,loss,top5");
  CHECK(csv.complete({"epoch,top1,loss,top5", "1,70,0.5,", "2,80,0.25,99"}, 1, "state") == 1);
  CHECK(csv.rows_without(0) == Rows{"1,70,0.5,,9", "2,80,0.25,99,"});
  write_text(path, "epoch,same,loss,accuracy,seconds\n1,0.5,0.5\n");
  CHECK(contains(error_of([&] { csv.keep_rows_up_to(9); }), "is not a row of epoch,same,loss,accuracy"));
}

TEST_CASE("rows that are missing come from elsewhere, those that are there keep their last columns") {
  Table table;
  write_text(table.path, "epoch,loss,seconds\n1,0.5,7\n3,0.125,7\n10,0.1,7\n");
  table.csv.keep_rows_up_to(10);
  CHECK(table.csv.complete({"1,0.5", "2,0.25", "3,0.12", "10,0.1"}, 1, "state") == 2);
  CHECK(table.csv.rows_without(0) == Rows{"1,0.5,7", "2,0.25,", "3,0.12,", "10,0.1,7"});
  CHECK(table.csv.rows_without(1) == Rows{"1,0.5", "2,0.25", "3,0.12", "10,0.1"});
  table.csv.write();
  CHECK_FALSE(table.csv.keep_rows_up_to(10));  // what was made is a row like others
  CHECK(table.csv.complete({"1,0.5", "2,0.25", "3,0.12", "10,0.1"}, 1, "state") == 0);
  for (const char* row : {"", "1", "1,2,3", "x,1", "1,2\n3"})
    CHECK(contains(error_of([&] { table.csv.complete({row}, 1, "state"); }), "state: '"));
}
