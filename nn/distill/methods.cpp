#include "nn/distill/methods.h"

#include "core/nearest.h"
#include "nn/distill/generous.h"
#include "nn/distill/kd.h"
#include "nn/distill/none.h"

namespace generous {

const std::vector<MethodEntry>& methods() {
  static const std::vector<MethodEntry> all = {
      {"none", "cross-entropy with the labels alone", make_none, false},
      {"generous", "Ding et al., Generous teacher, Image and Vision Computing 2024", make_generous, false},
      {"kd", "Hinton, Vinyals, Dean, Distilling the knowledge in a neural network, 2015", make_kd},
  };
  return all;
}

std::unique_ptr<Method> make_method(const std::string& name) {
  std::vector<std::string> names;
  for (const MethodEntry& method : methods()) {
    if (method.name == name) return method.make();
    names.push_back(method.name);
  }
  fail("unknown method '{}'; did you mean '{}'?", name, nearest(name, names));
}

}  // namespace generous
