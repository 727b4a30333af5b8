// How a run is saved: its weights, for use elsewhere, and its state, from which it goes on.
#pragma once

#include <string>
#include <vector>

#include "apps/training/checkpoint.h"
#include "apps/training/weights.h"

namespace generous {

/// What stays the same in all that a run saves.
struct RunIdentity {
  RunFolder folder;
  WeightsOrigin origin;
  std::string config;  ///< Options::to_json of its settings
  std::int64_t train_images = 0;
  Inputs inputs;
};

/// State dicts at one moment.
struct Snapshot {
  NamedTensors model;
  NamedTensors method;
  NamedTensors optimizer;
  NamedTensors average;  ///< empty without one
};

/// "the weight NAME became nan" for the first f32 value that is not finite, "" if all are.
std::string not_finite_in(const NamedTensors& weights);

/// `metrics` are the rows of metrics.csv. To be written last: until it is replaced, a resume starts from the
/// previous one and makes the rest again.
void save_state(const RunIdentity& run, const Position& position, std::vector<std::string> metrics,
                Snapshot snapshot);

}  // namespace generous
