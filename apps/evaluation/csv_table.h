// Tables of any text and numbers (RFC 4180), as pandas reads them.
#pragma once

#include <string>
#include <vector>

namespace generous {

/// A text as a cell: in quotes where it holds what would end the cell.
std::string csv_cell(const std::string& text);
/// The shortest text that reads back to the same number; nothing for nan: no value.
std::string csv_cell(double number);

class CsvTable {
 public:
  /// `columns` are texts, not cells yet.
  explicit CsvTable(const std::vector<std::string>& columns);
  /// As many cells as there are columns.
  void add_row(const std::vector<std::string>& cells);
  const std::string& text() const { return text_; }

 private:
  std::size_t columns_;
  std::string text_;
};

}  // namespace generous
