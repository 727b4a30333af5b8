// training_state.safetensors. What is read can be written, and reads back the same; nothing in it is
// impossible.
#include "apps/training/checkpoint.h"
#include "core/files.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/safetensors_mutator.h"

using namespace generous;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  TrainingState state;
  if (!fuzz::accepted([&] { state = parse_training_state(fuzz::text_of(data, size), "input"); })) return 0;
  const Position& position = state.position;
  fuzz::check(position.epoch >= 0 && position.step_in_epoch >= 0 && position.step >= 0 &&
                  position.best.epoch >= 0 && position.sums.images >= 0 && position.sums.correct >= 0 &&
                  state.train_images >= 0,
              "no count is negative");

  static const std::filesystem::path path = fuzz::scratch_folder() / "written.safetensors";
  write_training_state(path, state);
  const std::string written = read_file(path);
  const TrainingState again = parse_training_state(written, path);
  fuzz::check(again.config == state.config, "the configuration reads back the same");
  fuzz::check(fuzz::same(again.model, state.model) && fuzz::same(again.method, state.method) &&
                  fuzz::same(again.optimizer, state.optimizer) && fuzz::same(again.average, state.average),
              "tensors read back the same");
  write_training_state(path, again);
  fuzz::check(read_file(path) == written, "a state that is read and written again is the same file");
  return 0;
}
