// What a run's log keeps so that its results can be understood, and had again, years later: by what it was
// made, where, from what, with which settings.
#pragma once

#include <map>
#include <string>

#include "apps/build_state.h"
#include "apps/training/log.h"
#include "core/options.h"
#include "nn/parallel/group.h"

namespace generous {

/// What runs.
struct RunDescription {
  const BuildState& build;
  const Options& options;
  const Group& group;
  std::string device;                         ///< Backend::description
  std::string method;                         ///< its name
  std::map<std::string, std::string> recipe;  ///< defaults that model, dataset and method set
  std::string teacher;                        ///< its network, file and hash; "" for none
  bool resumed = false;
};

/// The lines, for the log's file alone. Of a run that goes on only what is another than it was.
void write_record(RunLog& log, const RunDescription& run);

}  // namespace generous
