// params.json; the first byte picks the program. A configuration that is written back reads as the same one,
// and a run with it may be resumed.
#include <array>

#include "apps/training/checkpoint.h"
#include "apps/training/config.h"
#include "tests/fuzz/fuzz.h"

using namespace generous;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static constexpr std::array programs = {Program::train_standard, Program::train_generous,
                                          Program::train_kd};
  std::string_view input = fuzz::text_of(data, size);
  const Program program = programs[fuzz::take_byte(input) % programs.size()];
  Config config;
  if (!fuzz::accepted([&] { config = parse_params(program, input, "input"); })) return 0;
  if (!config.given.contains("dataset")) return 0;  // which is required: nothing is written without it

  const std::string written = to_json(config);
  const Config again = parse_params(program, written, "written");
  fuzz::check(to_json(again) == written, "the configuration reads back the same");
  TrainingState state;
  state.config = written;
  check_same_settings(config, state, "state");
  return 0;
}
