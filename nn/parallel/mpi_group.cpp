#include "nn/parallel/mpi_group.h"

#include <fmt/format.h>
#include <mpi.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <numeric>
#include <optional>
#include <thread>

#include "core/threads.h"

namespace generous {

// Every call of MPI ends the program, with a message, if it fails: that is the default of MPI_COMM_WORLD.

namespace {

bool is_done(MPI_Request& request) {
  int done = 0;
  MPI_Test(&request, &done, MPI_STATUS_IGNORE);
  return done != 0;
}

/// Waits by letting others have the core, where MPI itself spins. Who waits for as long as an evaluation or a
/// file takes sleeps.
void wait_for(MPI_Request& request) {
  using std::chrono::steady_clock;
  const auto begin = steady_clock::now();
  while (!is_done(request)) {
    if (steady_clock::now() - begin < std::chrono::seconds(1))
      std::this_thread::yield();
    else
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

/// Calls `begin` with where the request of what it begins is to be, and waits for that.
template <class Begin>
void completely(const Begin& begin) {
  MPI_Request request = MPI_REQUEST_NULL;
  begin(&request);
  wait_for(request);
}

class Sum : public Transfer {
 public:
  explicit Sum(std::span<float> values) {
    MPI_Iallreduce(MPI_IN_PLACE, values.data(), static_cast<int>(values.size()), MPI_FLOAT, MPI_SUM,
                   MPI_COMM_WORLD, &request_);
  }
  void progress() override { is_done(request_); }
  void wait() override { wait_for(request_); }

 private:
  MPI_Request request_ = MPI_REQUEST_NULL;
};

/// Each process sums a piece of the values in the order of ranks, and all of them gather the pieces.
class OrderedSum : public Transfer {
 public:
  OrderedSum(std::span<float> values, int rank, int size) : values_(values), rank_(rank) {
    const auto count = static_cast<std::int64_t>(values.size());
    for (std::int64_t piece = 0; piece < size; ++piece) {
      begins_.push_back(static_cast<int>(count * piece / size));
      counts_.push_back(static_cast<int>(count * (piece + 1) / size) - begins_.back());
    }
    const int own = counts_[static_cast<std::size_t>(rank)];
    received_counts_.assign(counts_.size(), own);
    for (int other = 0; other < size; ++other) received_begins_.push_back(other * own);
    received_.resize(static_cast<std::size_t>(own) * counts_.size());
    MPI_Ialltoallv(values.data(), counts_.data(), begins_.data(), MPI_FLOAT, received_.data(),
                   received_counts_.data(), received_begins_.data(), MPI_FLOAT, MPI_COMM_WORLD, &request_);
  }
  void progress() override { is_done(request_); }
  void wait() override {
    wait_for(request_);
    const auto own = static_cast<std::size_t>(counts_[static_cast<std::size_t>(rank_)]);
    float* sums = values_.data() + begins_[static_cast<std::size_t>(rank_)];
    for (std::size_t i = 0; i < own; ++i) {
      float sum = received_[i];
      for (std::size_t other = 1; other < counts_.size(); ++other) sum += received_[other * own + i];
      sums[i] = sum;
    }
    completely([this](MPI_Request* request) {
      MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, values_.data(), counts_.data(), begins_.data(),
                      MPI_FLOAT, MPI_COMM_WORLD, request);
    });
  }

 private:
  std::span<float> values_;
  int rank_;
  std::vector<int> begins_;  ///< of the pieces
  std::vector<int> counts_;
  std::vector<int> received_begins_;
  std::vector<int> received_counts_;
  std::vector<float> received_;  ///< the own piece as each process has it
  MPI_Request request_ = MPI_REQUEST_NULL;
};

class MpiGroup : public Group {
 public:
  MpiGroup() {
    int provided = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
    std::array<char, MPI_MAX_PROCESSOR_NAME> host{};
    int length = 0;
    MPI_Get_processor_name(host.data(), &length);
    host_.assign(host.data(), static_cast<std::size_t>(length));
    find_cores();
  }
  ~MpiGroup() override {
    completely([](MPI_Request* request) { MPI_Ibarrier(MPI_COMM_WORLD, request); });
    MPI_Finalize();
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string name() const override {
    return size_ == 1 ? "" : fmt::format("rank {} of {} on host {}", rank_, size_, host_);
  }

  int threads(int asked) const override {
    if (asked > 0 || size_ == 1 || std::getenv("OMP_NUM_THREADS") != nullptr) return asked;
    return std::max(1, static_cast<int>(cores_ + 1e-6));
  }

  std::string complaint() const override { return complaint_; }

  std::unique_ptr<Transfer> start_sum(std::span<float> values, bool in_order) override {
    if (in_order && size_ > 2) return std::make_unique<OrderedSum>(values, rank_, size_);
    return std::make_unique<Sum>(values);
  }

  void sum(std::span<double> values) override {
    completely([&](MPI_Request* request) {
      MPI_Iallreduce(MPI_IN_PLACE, values.data(), static_cast<int>(values.size()), MPI_DOUBLE, MPI_SUM,
                     MPI_COMM_WORLD, request);
    });
  }

  void broadcast(std::span<std::byte> bytes) override {
    completely([&](MPI_Request* request) {
      MPI_Ibcast(bytes.data(), static_cast<int>(bytes.size()), MPI_BYTE, 0, MPI_COMM_WORLD, request);
    });
  }

  int most(int value) override {
    completely([&](MPI_Request* request) {
      MPI_Iallreduce(MPI_IN_PLACE, &value, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD, request);
    });
    return value;
  }

  std::vector<std::string> gather(const std::string& text) override {
    std::vector<int> lengths(static_cast<std::size_t>(size_));
    const int own = static_cast<int>(text.size());
    completely([&](MPI_Request* request) {
      MPI_Iallgather(&own, 1, MPI_INT, lengths.data(), 1, MPI_INT, MPI_COMM_WORLD, request);
    });
    std::vector<int> begins(lengths.size(), 0);
    std::partial_sum(lengths.begin(), lengths.end() - 1, begins.begin() + 1);
    std::string all(static_cast<std::size_t>(begins.back() + lengths.back()), '\0');
    completely([&](MPI_Request* request) {
      MPI_Iallgatherv(text.data(), own, MPI_CHAR, all.data(), lengths.data(), begins.data(), MPI_CHAR,
                      MPI_COMM_WORLD, request);
    });
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < lengths.size(); ++i)
      texts.push_back(all.substr(static_cast<std::size_t>(begins[i]), static_cast<std::size_t>(lengths[i])));
    return texts;
  }

  void abort(int exit_code) override { MPI_Abort(MPI_COMM_WORLD, exit_code); }

 private:
  /// How many cores are this process's: each that it may use, divided among those of this host that may use
  /// it as well.
  void find_cores() {
    MPI_Comm on_host = MPI_COMM_NULL;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &on_host);
    int processes = 1;
    MPI_Comm_size(on_host, &processes);
    cpu_set_t own{};
    sched_getaffinity(0, sizeof own, &own);
    std::vector<cpu_set_t> all(static_cast<std::size_t>(processes));
    MPI_Allgather(&own, sizeof own, MPI_BYTE, all.data(), sizeof own, MPI_BYTE, on_host);
    MPI_Comm_free(&on_host);
    double share = 0.0;
    int used = 0;
    for (std::size_t core = 0; core < CPU_SETSIZE; ++core) {
      const auto users = std::count_if(all.begin(), all.end(),
                                       [core](const cpu_set_t& set) { return CPU_ISSET(core, &set); });
      used += users > 0 ? 1 : 0;
      if (!CPU_ISSET(core, &own)) continue;
      share += 1.0 / static_cast<double>(users);
    }
    if (const std::optional<double> quota = cpu_quota()) share = std::min(share, *quota / processes);
    cores_ = share;
    const auto there = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
    if (share < 1.0 - 1e-6)
      complaint_ = fmt::format("{} processes share {:.3g} cores of {}: fewer would be faster", processes,
                               share * processes, host_);
    else if (used < there && used != CPU_COUNT(&own))
      complaint_ = fmt::format(
          "the {} processes on {} are bound to {} of its {} cores: mpirun --bind-to none lets them use all",
          processes, host_, used, there);
  }

  int rank_ = 0;
  int size_ = 1;
  std::string host_;
  double cores_ = 1.0;
  std::string complaint_;
};

}  // namespace

bool has_mpi() { return true; }

std::string mpi_version() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  const std::string all(text.data(), static_cast<std::size_t>(length));
  return all.substr(0, all.find_first_of(",\n"));
}

std::unique_ptr<Group> join_mpi_group() { return std::make_unique<MpiGroup>(); }

}  // namespace generous
