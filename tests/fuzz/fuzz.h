// What the fuzz targets share. A target feeds one parser with anything. The parser may refuse by Error and by
// nothing else; whatever it takes must keep the target's promises. All else is a finding: crashes,
// sanitizers' reports, other exceptions, too much time or memory (tests/fuzz/run.sh has the limits).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "core/error.h"
#include "core/safetensors.h"

namespace generous::fuzz {

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// Takes the first byte of `input` away and returns it; 0 if there is none.
std::uint8_t take_byte(std::string_view& input);

/// Ends the process with a finding unless `kept`.
void check(bool kept, std::string_view promise);

/// Whether `parse` takes its input; false if it refuses it by Error.
template <class Parse>
bool accepted(Parse parse) {
  try {
    parse();
    return true;
  } catch (const Error&) {
    return false;
  }
}

/// A folder for files that a parser reads, of this process alone.
const std::filesystem::path& scratch_folder();

/// Replaces a file's content.
void put_file(const std::filesystem::path& path, std::string_view content);

/// The same names, element types, shapes and bytes.
bool same(const NamedTensors& one, const NamedTensors& other);

}  // namespace generous::fuzz
