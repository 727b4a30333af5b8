// A program that several processes run together: when one cannot go on, all of them end, and one line says
// why.
#pragma once

#include <functional>
#include <string>

#include "nn/parallel/group.h"

namespace generous {

/// The place behind which all processes are ready: what they were started with is valid, and the same.
class Start {
 public:
  explicit Start(Group& group) : group_(group) {}

  /// Waits for all. Throws SharedError if one of them cannot go on, or if `facts`, which are asked for in a
  /// group of several alone, differ.
  void agree(const std::function<Facts()>& facts);
  /// Behind agree: every process does `step`, which may ask the group. Throws SharedError if one of them
  /// cannot go on.
  void check(const std::function<void()>& step);
  /// Throws SharedError with what keeps the first process, maybe this one, from going on.
  void give_up(const Failure& failure);
  bool over() const { return over_; }

 private:
  Group& group_;
  bool over_ = false;
};

/// Runs `body`, which calls Start::agree unless it ends before, in every process of the group. Returns its
/// exit code in rank 0 and 0 in the others: mpirun takes another one for a failure, and ends those that are
/// still busy. An exception before that place ends all of them with the first one's message, which rank 0
/// alone throws on. A SharedError behind it is that of all; any other is said with its rank, and all are
/// ended at once.
int run_together(Group& group, const std::string& program, const std::function<int(Start&)>& body);

}  // namespace generous
