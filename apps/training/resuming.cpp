// How a training loop goes on from a saved state.
#include <fmt/format.h>

#include "apps/training/training_loop.h"
#include "core/counted.h"
#include "core/files.h"
#include "core/finite.h"
#include "nn/state_dict.h"

namespace generous {

std::vector<std::string> TrainingLoop::restore(const TrainingState& state,
                                               const std::filesystem::path& source) {
  require(state.train_images == run_.train_images,
          "cannot resume {}: the run was started on {} training images, now there are {}", source.string(),
          state.train_images, run_.train_images);
  std::vector<std::string> notes = check_same_inputs(run_.inputs, state, source);
  check_reachable(state.position, source.string());
  position_ = state.position;
  if (position_.step > 0) {
    load_state_dict(training_.student, state.model, source.string());
    load_state_dict(training_.method, state.method, source.string());
    for (const NamedTensors* tensors : {&state.model, &state.method, &state.optimizer, &state.average})
      require_finite(*tensors, source.string());
    training_.optimizer.load_state(state.optimizer, source.string());
    if (training_.average != nullptr) training_.average->load_state(state.average, source.string());
  }
  for (std::string& note : report_.restore(state)) notes.push_back(std::move(note));
  const auto note_missing = [&notes](const std::filesystem::path& weights, const Best& best) {
    if (best.epoch > 0 && !file_exists(weights))
      notes.push_back(fmt::format(
          "{} is missing: the weights of the best epoch so far, {} with top-1 {:.2f} %, are lost; "
          "it is written when an epoch is better than that",
          weights.string(), best.epoch, best.accuracy));
  };
  note_missing(run_.folder.best_model(), position_.best);
  if (position_.ema_best) note_missing(run_.folder.ema_best_model(), *position_.ema_best);
  return notes;
}

/// Throws Error unless this run comes through the position.
void TrainingLoop::check_reachable(const Position& position, const std::string& source) const {
  require(position.sums.terms.size() == position_.sums.terms.size(),
          "{} is damaged: it has {}, this program has {}", source,
          counted(std::ssize(position.sums.terms), "loss term"), position_.sums.terms.size());
  require(position.paper_best.has_value() == position_.paper_best.has_value(),
          "{} is damaged: its paper_best_epoch does not go with paper_metrics {}", source,
          position_.paper_best ? 1 : 0);
  require(position.ema_best.has_value() == position_.ema_best.has_value(),
          "{} is damaged: its ema_best_epoch does not go with ema_decay", source);
  const auto validated = [](const Best& best) { return best.test_accuracy.has_value(); };
  require(validated(position.best) == validated(position_.best) &&
              (!position.ema_best || validated(*position.ema_best) == validated(*position_.ema_best)),
          "{} is damaged: its best_test_accuracy does not go with validation", source);
  const std::int64_t batches = train_loader_.batches();
  require(
      position.step_in_epoch <= batches && position.step == position.epoch * batches + position.step_in_epoch,
      "{} is damaged: {} of {} and {} more are not its {}", source, counted(position.epoch, "epoch"),
      counted(batches, "step"), position.step_in_epoch, counted(position.step, "step"));
  const std::int64_t images = train_loader_.images_in(position.step_in_epoch);
  require(position.sums.images == images, "{} is damaged: {} of an epoch take {}, not {}", source,
          counted(position.step_in_epoch, "step"), counted(images, "image"), position.sums.images);
}

}  // namespace generous
