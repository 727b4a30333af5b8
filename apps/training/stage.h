// A training stage: one program, and what it fixes of the one training that all of them share.
#pragma once

#include <filesystem>
#include <span>
#include <string>

namespace generous {

struct TrainingStage {
  std::string program;
  std::string method = {};               ///< the method; empty: --method chooses one for students
  std::string teacher_model = {};        ///< the key of the teacher's network; empty: there is no teacher
  std::string teacher_weights = {};      ///< the key of its weights
  std::string teacher_model_alias = {};  ///< other names for both
  std::string teacher_weights_alias = {};
};

/// The program that trains the run in this folder, as far as its params.json tells: the stage that has a key
/// in it, or else the first one.
std::string program_of_run(std::span<const TrainingStage> stages, const std::filesystem::path& run);

}  // namespace generous
