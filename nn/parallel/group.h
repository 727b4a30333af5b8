// Processes that train together, each on a share of every batch. Started by mpirun or srun; a process that
// was started alone is a group of one, which needs no MPI.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/communicator.h"
#include "core/error.h"

namespace generous {

/// What every process of a group throws at the same place, so that none waits for another.
class SharedError : public Error {
 public:
  explicit SharedError(const std::string& message, int exit_code = 1)
      : Error(message), exit_code_(exit_code) {}
  int exit_code() const { return exit_code_; }

 private:
  int exit_code_;
};

/// Which of the processes of its host one is, from 0, and how many these are.
struct HostPlace {
  int rank = 0;
  int size = 1;
};

/// Functions that are not const are called by every process, in the same order.
class Group {
 public:
  Group() = default;
  virtual ~Group() = default;
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// "rank 1 of 2 on host b"; "" in a group of one.
  virtual std::string name() const = 0;
  bool is_first() const { return rank() == 0; }

  /// With how many threads to compute where `asked` are asked for, as set_threads takes it: 0 becomes this
  /// process's share of the cores that it may use, at least one.
  virtual int threads(int asked) const = 0;
  /// What keeps the processes of this host from computing as fast as it could: too many of them, or cores
  /// that none may use; "" for nothing.
  virtual std::string complaint() const = 0;
  virtual HostPlace on_host() const = 0;
  /// From here on the tensors of a sum are on this device. Throws SharedError if the processes' devices
  /// cannot be joined.
  virtual void connect(Device device) = 0;
  /// As Communicator::start_sum, where `connect` said, or on the host, where it is always in order.
  virtual std::unique_ptr<Transfer> start_sum(std::vector<Tensor> values, bool in_order) = 0;
  /// Sums over all processes: exact where no two have another value than 0 in the same place.
  virtual void sum(std::span<double> values) = 0;
  /// Everyone gets what rank 0 has.
  virtual void broadcast(std::span<std::byte> bytes) = 0;
  /// The largest of all.
  virtual int most(int value) = 0;
  /// Everyone's text, by rank.
  virtual std::vector<std::string> gather(const std::string& text) = 0;
  /// Ends all processes at once, whatever they are doing. May be called by one of them alone.
  virtual void abort(int exit_code) = 0;
};

/// Of a sum that there is nothing to do for.
std::unique_ptr<Transfer> no_transfer();

/// The group of this process alone.
std::unique_ptr<Group> group_of_one();

/// The group that this process was started in; at most once in a process. Throws Error if it was started as
/// one of several and has no MPI, or another one than they were started by.
std::unique_ptr<Group> join_group();

/// Why a process cannot go on, and the exit code that it would end with.
struct Failure {
  std::string message;  ///< "" if it can
  int exit_code = 0;
};

/// Throws SharedError with the first process's failure, if there is any, and its name unless all say the
/// same.
void agree(Group& group, const Failure& failure);

/// What something is, and its value: "training images" and their hash.
using Facts = std::vector<std::pair<std::string, std::string>>;
/// Throws SharedError that names the first thing in which a process differs from rank 0.
void require_same(Group& group, const Facts& facts);

}  // namespace generous
