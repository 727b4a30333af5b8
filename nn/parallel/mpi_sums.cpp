#include "nn/parallel/mpi_sums.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <thread>
#include <utility>

namespace generous {

namespace {

/// Elements of what everyone sends to everyone as a whole: less latency, where bytes do not count.
constexpr std::int64_t small = 4096;

/// Elements of a tensor that travels by itself, without being copied beside others.
constexpr std::int64_t large = 65536;

bool is_done(MPI_Request& request) {
  int done = 0;
  MPI_Test(&request, &done, MPI_STATUS_IGNORE);
  return done != 0;
}

/// As wait_for: until `done()`, which is asked again and again.
template <class Done>
void wait_until(const Done& done) {
  using std::chrono::steady_clock;
  const auto begin = steady_clock::now();
  while (!done()) {
    if (steady_clock::now() - begin < std::chrono::seconds(1))
      std::this_thread::yield();
    else
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

/// own[i] = the sum of what all ranks have, in their order: this process's own[i], and of the others
/// received[rank * own.size() + i].
void add_up(std::span<const float> received, std::span<float> own, int rank) {
  constexpr std::size_t chunk = 4096;  // stays in the fastest cache
  std::array<float, chunk> sums;
  for (std::size_t begin = 0; begin < own.size(); begin += chunk) {
    const std::size_t count = std::min(chunk, own.size() - begin);
    const auto values_of = [&](std::size_t of) {
      return of == static_cast<std::size_t>(rank) ? own.data() + begin
                                                  : received.data() + of * own.size() + begin;
    };
    std::copy_n(values_of(0), count, sums.begin());
    for (std::size_t other = 1; other * own.size() < received.size(); ++other) {
      const float* values = values_of(other);
      for (std::size_t i = 0; i < count; ++i) sums[i] += values[i];
    }
    std::copy_n(sums.begin(), count, own.data() + begin);
  }
}

/// Of few values: everyone gets those of all.
class SmallSum : public Transfer {
 public:
  SmallSum(std::span<float> values, HostSums::Shared& shared)
      : values_(values), rank_(shared.rank), received_(Tensor::empty({shared.size, std::ssize(values)})) {
    const auto count = static_cast<int>(values.size());
    MPI_Iallgather(values.data(), count, MPI_FLOAT, received_.raw(), count, MPI_FLOAT, shared.first,
                   &request_);
  }
  void progress() override { is_done(request_); }
  void wait() override {
    wait_for(request_);
    add_up(received_.data<float>(), values_, rank_);
  }

 private:
  std::span<float> values_;
  int rank_;
  Tensor received_;  ///< {processes, values}
  MPI_Request request_ = MPI_REQUEST_NULL;
};

/// Each process gets its piece of the values from all, and sums it; then all gather the pieces. So everyone
/// sends and adds up equally much.
class LargeSum : public Transfer {
 public:
  LargeSum(std::span<float> values, HostSums::Shared& shared) : values_(values), shared_(shared) {
    const auto count = static_cast<std::int64_t>(values.size());
    for (std::int64_t piece = 0; piece < shared.size; ++piece) {
      begins_.push_back(static_cast<int>(count * piece / shared.size));
      counts_.push_back(static_cast<int>(count * (piece + 1) / shared.size) - begins_.back());
    }
    const auto rank = static_cast<std::size_t>(shared.rank);
    own_ = values.subspan(static_cast<std::size_t>(begins_[rank]), static_cast<std::size_t>(counts_[rank]));
    received_counts_.assign(counts_.size(), counts_[rank]);
    received_counts_[rank] = 0;  // it has its own
    sent_counts_ = counts_;
    sent_counts_[rank] = 0;
    for (int other = 0; other < shared.size; ++other) received_begins_.push_back(other * counts_[rank]);
    received_ = Tensor::empty({shared.size, counts_[rank]});
    MPI_Ialltoallv(values.data(), sent_counts_.data(), begins_.data(), MPI_FLOAT, received_.raw(),
                   received_counts_.data(), received_begins_.data(), MPI_FLOAT, shared.first, &request_);
    shared.waiting.push_back(this);
  }
  ~LargeSum() override { std::erase(shared_.waiting, this); }
  LargeSum(const LargeSum&) = delete;
  LargeSum& operator=(const LargeSum&) = delete;

  void progress() override {
    if (is_done(request_) && !gathers_ && shared_.waiting.front() == this) gather();
  }

  void wait() override {
    wait_until([this] {
      // Those before it, whoever waits for them later, have their turn first.
      if (!gathers_) shared_.waiting.front()->progress();
      return gathers_;
    });
    wait_for(request_);
  }

 private:
  void gather() {
    add_up(received_.data<float>(), own_, shared_.rank);
    MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, values_.data(), counts_.data(), begins_.data(),
                    MPI_FLOAT, shared_.second, &request_);
    gathers_ = true;
    shared_.waiting.pop_front();
  }

  std::span<float> values_;
  HostSums::Shared& shared_;
  std::span<float> own_;     ///< this process's piece
  std::vector<int> begins_;  ///< of the pieces
  std::vector<int> counts_;
  std::vector<int> sent_counts_;
  std::vector<int> received_begins_;
  std::vector<int> received_counts_;
  Tensor received_;  ///< {processes, values of the own piece}, as each process has them
  bool gathers_ = false;
  MPI_Request request_ = MPI_REQUEST_NULL;
};

/// Of tensors: large ones where they are, the others side by side.
class SumOfTensors : public Transfer {
 public:
  SumOfTensors(const std::vector<Tensor>& values, HostSums::Shared& shared) {
    std::int64_t count = 0;
    for (const Tensor& each : values) {
      if (each.numel() >= large || values.size() == 1) {
        start(each, shared);
      } else {
        packed_.push_back(each);
        count += each.numel();
      }
    }
    if (packed_.empty()) return;
    pack_ = Tensor::empty({count});
    auto to = pack_.data<float>().begin();
    for (const Tensor& each : packed_) to = std::ranges::copy(std::as_const(each).data<float>(), to).out;
    start(pack_, shared);
  }

  void progress() override {
    for (const auto& sum : sums_) sum->progress();
  }

  void wait() override {
    for (const auto& sum : sums_) sum->wait();
    if (packed_.empty()) return;
    auto from = pack_.data<float>().begin();
    for (Tensor& each : packed_) {
      std::copy_n(from, each.numel(), each.data<float>().begin());
      from += each.numel();
    }
  }

 private:
  void start(Tensor values, HostSums::Shared& shared) {
    if (values.numel() <= small)
      sums_.push_back(std::make_unique<SmallSum>(values.data<float>(), shared));
    else
      sums_.push_back(std::make_unique<LargeSum>(values.data<float>(), shared));
    summed_.push_back(std::move(values));
  }

  std::vector<Tensor> packed_;
  Tensor pack_;                 ///< their values, side by side
  std::vector<Tensor> summed_;  ///< what `sums_` are of
  std::vector<std::unique_ptr<Transfer>> sums_;
};

}  // namespace

void wait_for(MPI_Request& request) {
  wait_until([&] { return is_done(request); });
}

HostSums::HostSums() {
  MPI_Comm_rank(MPI_COMM_WORLD, &shared_.rank);
  MPI_Comm_size(MPI_COMM_WORLD, &shared_.size);
  MPI_Comm_dup(MPI_COMM_WORLD, &shared_.first);
  MPI_Comm_dup(MPI_COMM_WORLD, &shared_.second);
}

HostSums::~HostSums() {
  MPI_Comm_free(&shared_.first);
  MPI_Comm_free(&shared_.second);
}

std::unique_ptr<Transfer> HostSums::start(const std::vector<Tensor>& values) {
  return std::make_unique<SumOfTensors>(values, shared_);
}

}  // namespace generous
