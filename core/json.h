// Strict reading of JSON. A caller also includes <nlohmann/json.hpp>; this header needs its forward
// declarations alone.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace generous {

/// Parses one JSON value (RFC 8259, UTF-8). `source`, usually the file's name, begins every message. Throws
/// Error with line and column for bad syntax or anything after the value, and for what nlohmann::json alone
/// lets pass: a key twice in one object (the last would win), a zero byte (the rest would be ignored),
/// nesting deeper than 64; also for a number beyond the range of double. An integer beyond 64 bits comes out
/// as a floating-point number.
nlohmann::json parse_json_strictly(std::string_view text, const std::string& source);

/// `value` for a message: as JSON on one line in ASCII, shortened with "..." after 80 characters.
std::string json_excerpt(const nlohmann::json& value);

}  // namespace generous
