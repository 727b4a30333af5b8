// A hash that tells whether bytes are still the same: 128 bits of XXH3, faster than memory delivers them. Not
// against forgery.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

struct XXH3_state_s;

namespace generous {

class Hash {
 public:
  Hash();

  void add(std::span<const std::byte> bytes);
  /// Text goes in with its length, so that its end counts.
  void add(const std::string& text);
  /// Of all that was added: 32 hexadecimal digits.
  std::string hex() const;

 private:
  struct Free {
    void operator()(XXH3_state_s* state) const;
  };
  std::unique_ptr<XXH3_state_s, Free> state_;
};

}  // namespace generous
