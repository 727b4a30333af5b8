// params.json; the first byte picks the stage. A configuration that is written back reads as the same one,
// and a run with it may be resumed.
#include "apps/stages.h"
#include "apps/training/settings.h"
#include "tests/fuzz/fuzz.h"

using namespace generous;

namespace {

/// What a stage makes of the text of a params.json alone.
struct Read {
  Options options;
  TrainingSettings settings;

  Read(const TrainingStage& stage, std::string_view text, const std::string& source)
      : options(stage.program) {
    options.params(text, source);
    settings.declare(options, stage);
    options.check_names();
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input = fuzz::text_of(data, size);
  const TrainingStage& stage = stages[fuzz::take_byte(input) % stages.size()];
  std::unique_ptr<Read> read;
  if (!fuzz::accepted([&] { read = std::make_unique<Read>(stage, input, "input"); })) return 0;
  if (!read->options.given("dataset")) return 0;  // which is required: nothing is written without it

  const std::string written = read->options.to_json();
  const Read again(stage, written, "written");
  fuzz::check(again.options.to_json() == written, "the configuration reads back the same");
  TrainingState state;
  state.config = written;
  check_same_settings(read->options.settings(), state, "state");
  return 0;
}
