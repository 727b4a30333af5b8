// Python's pickles, read as data: nothing in them is called or imported. (The opcodes: CPython's
// pickletools.)
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace generous {

/// One object of a pickle. Objects refer to each other as the pickle has them, in cycles too; their Pickle
/// owns them.
struct PickleValue {
  using Items = std::vector<const PickleValue*>;
  struct None {};
  /// A class or function by its name, which is all that is known of it.
  struct Global {
    std::string module;
    std::string name;
    std::string str() const { return module + "." + name; }
    bool operator==(const Global&) const = default;
  };
  struct Tuple {
    Items items;
  };
  struct List {
    Items items;
  };
  struct Dict {
    std::vector<std::pair<const PickleValue*, const PickleValue*>> items;
  };
  /// What calling `callable` would have made, and the items that were put into it afterwards.
  struct Object {
    Global callable;
    Items arguments;
    Dict content;
    const PickleValue* state = nullptr;  ///< the attributes that it was given, if any
  };
  /// What the pickle's writer keeps elsewhere, by the name that it gave it.
  struct Persistent {
    const PickleValue* id;
  };
  std::variant<None, bool, std::int64_t, double, std::string, Global, Tuple, List, Dict, Object, Persistent>
      is;

  template <class T>
  const T* as() const {
    return std::get_if<T>(&is);
  }
  /// The items of a dictionary or of an object that is used as one; nullptr for anything else.
  const Dict* dict() const;
};

/// A pickle, read.
class Pickle {
 public:
  /// Whether a class or function may be named in the pickle.
  using Allowed = std::function<bool(const PickleValue::Global&)>;

  /// Reads the pickle that `bytes` begin with, of protocol 2 to 4. Throws Error that begins with `where` for
  /// one that is damaged, or too large (a million objects), or names what is not `allowed`, or has an opcode
  /// that plain data does not need.
  Pickle(std::string_view bytes, const std::string& where, const Allowed& allowed);

  const PickleValue& root() const { return *root_; }
  /// Every object in it, in no order that matters.
  const std::deque<PickleValue>& values() const { return values_; }
  /// How many bytes it took.
  std::size_t size() const { return size_; }

 private:
  std::deque<PickleValue> values_;
  const PickleValue* root_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace generous
