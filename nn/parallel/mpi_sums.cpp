#include "nn/parallel/mpi_sums.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace generous {

namespace {

bool is_done(MPI_Request& request) {
  int done = 0;
  MPI_Test(&request, &done, MPI_STATUS_IGNORE);
  return done != 0;
}

/// Of values that are side by side.
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

/// Of tensors, which travel side by side.
class SumOfTensors : public Transfer {
 public:
  SumOfTensors(std::vector<Tensor> values, bool in_order) : values_(std::move(values)) {
    std::int64_t count = 0;
    for (const Tensor& each : values_) count += each.numel();
    if (values_.size() == 1) {
      packed_ = values_[0];
    } else {
      packed_ = Tensor::empty({count});
      auto to = packed_.data<float>().begin();
      for (const Tensor& each : values_) to = std::ranges::copy(each.data<float>(), to).out;
    }
    int rank = 0;
    int size = 1;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (in_order && size > 2)
      sum_ = std::make_unique<OrderedSum>(packed_.data<float>(), rank, size);
    else
      sum_ = std::make_unique<Sum>(packed_.data<float>());
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

std::unique_ptr<Transfer> start_host_sum(std::vector<Tensor> values, bool in_order) {
  return std::make_unique<SumOfTensors>(std::move(values), in_order);
}

}  // namespace generous
