#include "apps/training/stage.h"

#include <fmt/format.h>

#include "core/files.h"

namespace generous {

std::string program_of_run(std::span<const TrainingStage> stages, const std::filesystem::path& run) {
  const std::filesystem::path params = run / "params.json";
  const std::string text = file_exists(params) ? read_file(params) : "";
  for (const TrainingStage& stage : stages)
    if (!stage.teacher_model.empty() && text.find(fmt::format("\"{}\"", stage.teacher_model)) != text.npos)
      return stage.program;
  return stages.front().program;
}

}  // namespace generous
