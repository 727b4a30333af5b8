// The distillation methods by name.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nn/distill/method.h"

namespace generous {

struct MethodEntry {
  std::string name;
  std::string paper;  ///< where it is from
  std::unique_ptr<Method> (*make)();
  bool for_students = true;  ///< distils a student from any teacher; otherwise of one training stage alone
};

/// The explicit list: a method is a line in it.
const std::vector<MethodEntry>& methods();

/// A method by its name, or the MethodSum of several, with commas between. Throws Error that names the
/// nearest for an unknown name.
std::unique_ptr<Method> make_method(const std::string& name);

}  // namespace generous
