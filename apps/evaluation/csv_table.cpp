#include "apps/evaluation/csv_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "apps/training/csv.h"
#include "core/error.h"

namespace generous {

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string cell = "\"";
  for (const char c : text) cell.append(c == '"' ? 2 : 1, c);
  return cell + '"';
}

std::string csv_cell(double number) { return std::isnan(number) ? std::string() : exact(number); }

CsvTable::CsvTable(const std::vector<std::string>& columns) : columns_(columns.size()) {
  std::vector<std::string> cells;
  cells.reserve(columns.size());
  for (const std::string& column : columns) cells.push_back(csv_cell(column));
  add_row(cells);
}

void CsvTable::add_row(const std::vector<std::string>& cells) {
  require(cells.size() == columns_, "a row of {} cells in a table of {} columns", cells.size(), columns_);
  text_ += fmt::format("{}\n", fmt::join(cells, ","));
}

}  // namespace generous
