// The training loop that the three stages share.
#pragma once

#include <span>

#include "apps/build_state.h"
#include "apps/training/stage.h"
#include "core/options.h"

namespace generous {

/// Trains, or resumes, by a program that was built like this, the run that the options of a stage (one of
/// `stages`) describe, and fills its folder: weights, training state, metrics, log. Returns the exit code: 0,
/// or 129, 130 or 143 when a signal stopped the run, which then can be resumed. Holds the folder's lock
/// meanwhile, and throws Error if another program does. Throws Error, with the run saved all the same, if
/// standard output did not take every line; for bad data, weights and settings before anything in the folder
/// is changed; and for a loss or weights that are not finite, leaving the last checkpoint as it was.
int train(Options& options, const TrainingStage& stage, std::span<const TrainingStage> stages,
          const BuildState& build);

}  // namespace generous
