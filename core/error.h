// Errors are for the person who gets them: one line, what was wrong with which file, key, op or shape, and
// what would be right.
#pragma once

#include <fmt/core.h>

#include <stdexcept>

namespace generous {

/// Anything that went wrong while working: bad data, bad file, mismatched shapes. Programs exit with code 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The command line or configuration was wrong. Programs exit with code 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

/// Throws Error with the formatted message.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, const Args&... args) {
  throw Error(fmt::vformat(format, fmt::make_format_args(args...)));
}

/// Throws Error with the formatted message unless `condition` holds. Arguments are evaluated either way: keep
/// them cheap, or test first and call `fail`.
template <class... Args>
void require(bool condition, fmt::format_string<Args...> format, const Args&... args) {
  if (!condition) [[unlikely]]
    throw Error(fmt::vformat(format, fmt::make_format_args(args...)));
}

}  // namespace generous
