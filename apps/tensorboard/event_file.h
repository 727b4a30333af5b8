// The event files of a run, which TensorBoard reads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
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

/// The event files of a run: one of each program that completed an epoch of it, which grows epoch by epoch,
/// so that a TensorBoard that shows it sees each one. Together they have each epoch once. Where a run goes on
/// from before what they have (its program was killed before the state was saved, or the state is an older
/// one), they are cut back to there, and the new file begins by saying that later steps which were read
/// before hold no more. Files of other programs in the folder stay as they are. None is ever removed: a
/// TensorBoard that reads a file which goes would go no further.
class EventFile {
 public:
  /// Of a run in `folder`, with these settings as text, from its first epoch on. Writes nothing yet.
  EventFile(std::filesystem::path folder, std::string settings);

  /// Goes on behind the epoch `last` instead. Returns what was wrong with the files that are there. Throws
  /// Error if they cannot be read.
  std::vector<std::string> go_on_behind(std::int64_t last);
  void add(const EpochSummary& summary);
  /// Brings what is new to the end of the file, and on the disk. Throws Error that names the file and the
  /// reason: what is then at its end counts as cut off.
  void write();

 private:
  void begin();

  std::filesystem::path folder_;
  std::string settings_;
  std::filesystem::path path_;                        ///< empty: not begun
  std::int64_t last_ = 0;                             ///< the epoch behind which this program goes on
  std::string last_settings_;                         ///< that the files have
  std::uint32_t newest_ = 0;                          ///< the largest number in the files' names
  std::map<std::filesystem::path, std::string> cut_;  ///< what files are to have instead of what they have
  std::string unwritten_;                             ///< records
};

}  // namespace generous
