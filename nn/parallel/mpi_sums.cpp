#include "nn/parallel/mpi_sums.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace generous {

namespace {

/// Elements of what everyone sends to everyone as a whole: less latency, where bytes do not count.
constexpr std::size_t small = 4096;

bool is_done(MPI_Request& request) {
  int done = 0;
  MPI_Test(&request, &done, MPI_STATUS_IGNORE);
  return done != 0;
}

/// sums[i] = the sum over ranks of received[rank * sums.size() + i], in their order.
void add_up(std::span<const float> received, std::span<float> sums) {
  std::copy_n(received.begin(), sums.size(), sums.begin());
  for (std::size_t begin = sums.size(); begin < received.size(); begin += sums.size())
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += received[begin + i];
}

/// Of few values: everyone gets those of all.
class SmallSum : public Transfer {
 public:
  SmallSum(std::span<float> values, HostSums::Shared& shared)
      : values_(values), received_(Tensor::empty({shared.size, std::ssize(values)})) {
    const auto count = static_cast<int>(values.size());
    MPI_Iallgather(values.data(), count, MPI_FLOAT, received_.raw(), count, MPI_FLOAT, shared.first,
                   &request_);
  }
  void progress() override { is_done(request_); }
  void wait() override {
    wait_for(request_);
    add_up(received_.data<float>(), values_);
  }

 private:
  std::span<float> values_;
  Tensor received_;  ///< {processes, values}
  MPI_Request request_ = MPI_REQUEST_NULL;
};

/// Each process gets its piece of the values from all, and sums it; then all gather the pieces. So everyone
/// sends and adds up equally much.
class LargeSum : public Transfer {
 public:
  LargeSum(std::span<float> values, HostSums::Shared& shared)
      : values_(values), shared_(shared), number_(shared.started++) {
    const auto count = static_cast<std::int64_t>(values.size());
    for (std::int64_t piece = 0; piece < shared.size; ++piece) {
      begins_.push_back(static_cast<int>(count * piece / shared.size));
      counts_.push_back(static_cast<int>(count * (piece + 1) / shared.size) - begins_.back());
    }
    const auto rank = static_cast<std::size_t>(shared.rank);
    own_ = values.subspan(static_cast<std::size_t>(begins_[rank]), static_cast<std::size_t>(counts_[rank]));
    received_counts_.assign(counts_.size(), counts_[rank]);
    for (int other = 0; other < shared.size; ++other) received_begins_.push_back(other * counts_[rank]);
    received_ = Tensor::empty({shared.size, counts_[rank]});
    MPI_Ialltoallv(values.data(), counts_.data(), begins_.data(), MPI_FLOAT, received_.raw(),
                   received_counts_.data(), received_begins_.data(), MPI_FLOAT, shared.first, &request_);
  }

  void progress() override {
    if (is_done(request_) && !gathers_ && shared_.gathered == number_) gather();
  }

  void wait() override {
    if (!gathers_) {
      wait_for(request_);
      gather();
    }
    wait_for(request_);
  }

 private:
  void gather() {
    add_up(received_.data<float>(), own_);
    MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, values_.data(), counts_.data(), begins_.data(),
                    MPI_FLOAT, shared_.second, &request_);
    gathers_ = true;
    ++shared_.gathered;
  }

  std::span<float> values_;
  HostSums::Shared& shared_;
  std::int64_t number_;      ///< among the sums like this
  std::span<float> own_;     ///< this process's piece
  std::vector<int> begins_;  ///< of the pieces
  std::vector<int> counts_;
  std::vector<int> received_begins_;
  std::vector<int> received_counts_;
  Tensor received_;  ///< {processes, values of the own piece}, as each process has them
  bool gathers_ = false;
  MPI_Request request_ = MPI_REQUEST_NULL;
};

/// Of tensors, which travel side by side.
class SumOfTensors : public Transfer {
 public:
  SumOfTensors(std::vector<Tensor> values, HostSums::Shared& shared) : values_(std::move(values)) {
    if (values_.size() == 1) {
      packed_ = values_[0];
    } else {
      std::int64_t count = 0;
      for (const Tensor& each : values_) count += each.numel();
      packed_ = Tensor::empty({count});
      auto to = packed_.data<float>().begin();
      for (const Tensor& each : values_) to = std::ranges::copy(each.data<float>(), to).out;
    }
    const std::span<float> values_in_a_row = packed_.data<float>();
    if (values_in_a_row.size() <= small)
      sum_ = std::make_unique<SmallSum>(values_in_a_row, shared);
    else
      sum_ = std::make_unique<LargeSum>(values_in_a_row, shared);
  }

  void progress() override { sum_->progress(); }

  void wait() override {
    sum_->wait();
    if (values_.size() == 1) return;
    auto from = packed_.data<float>().begin();
    for (Tensor& each : values_) {
      std::copy_n(from, each.numel(), each.data<float>().begin());
      from += each.numel();
    }
  }

 private:
  std::vector<Tensor> values_;
  Tensor packed_;
  std::unique_ptr<Transfer> sum_;
};

}  // namespace

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

std::unique_ptr<Transfer> HostSums::start(std::vector<Tensor> values) {
  return std::make_unique<SumOfTensors>(std::move(values), shared_);
}

}  // namespace generous
