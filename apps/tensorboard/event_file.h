// The event file of a run, which TensorBoard reads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "apps/tensorboard/histogram.h"

namespace generous {

/// What an epoch came to, each by its tag, such as "test/loss".
struct EpochSummary {
  std::int64_t epoch = 0;  ///< from 1: TensorBoard's step
  std::vector<std::pair<std::string, double>> scalars = {};
  std::vector<std::pair<std::string, Histogram>> histograms = {};
};

/// Whether this was built with protobuf: everything else throws Error without it.
bool has_event_files();

/// What TensorBoard's files are called at the beginning, whoever writes them.
inline constexpr std::string_view event_file_prefix = "events.out.tfevents.";

/// A run has one event file, which grows epoch by epoch, so that a TensorBoard that shows it sees each one.
/// When a run goes on, a new file, of a later name, takes over what the last one has up to there, and the
/// last one goes: there is no epoch twice, nor one that the run has not come to. At its beginning it says
/// that nothing read before holds any more, for a TensorBoard that has shown the last one. Files of other
/// programs in the folder stay as they are.
class EventFile {
 public:
  /// In the folder of a run with these `settings`, as text. Nothing is read or written yet.
  EventFile(std::filesystem::path folder, std::string settings);

  /// Takes over the epochs up to `last` of the file that is there. Returns what was wrong with it, "" if
  /// nothing. Throws Error if it cannot be read.
  std::string keep_epochs_up_to(std::int64_t last);
  void add(const EpochSummary& summary);
  /// Makes the file, or brings what is new to its end, and on the disk. Throws Error that names the file and
  /// the reason: what is then at its end counts as cut off.
  void write();

 private:
  void begin();

  std::filesystem::path folder_;
  std::string settings_;
  std::filesystem::path path_;          ///< empty: not begun
  std::int64_t last_ = 0;               ///< the epoch after which this program goes on
  std::vector<std::string> kept_ = {};  ///< events of the last file
  std::string unwritten_;               ///< records
};

}  // namespace generous
