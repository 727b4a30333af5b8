#include "nn/parallel/mpi_group.h"

#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <numeric>
#include <optional>

#include "core/backend.h"
#include "core/threads.h"
#include "nn/parallel/mpi_sums.h"

namespace generous {

// Every call of MPI ends the program, with a message, if it fails: that is the default of MPI_COMM_WORLD.

namespace {

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
    host_sums_.emplace();
    find_cores();
  }
  ~MpiGroup() override {
    communicator_.reset();
    host_sums_.reset();
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

  HostPlace on_host() const override { return on_host_; }

  void connect(Device device) override {
    if (device == Device::cpu) return;
    Failure failure;
    CommunicatorId id;
    try {
      if (rank_ == 0) id = backend(device).make_communicator_id();
    } catch (const Error& error) {
      failure = {.message = error.what(), .exit_code = 1};
    }
    agree(*this, failure);
    require_devices_apart(backend(device).device_id());
    int length = static_cast<int>(id.size());
    length = most(length);
    id.resize(static_cast<std::size_t>(length));
    broadcast(id);
    communicator_ = backend(device).connect(id, rank_, size_);
  }

  std::unique_ptr<Transfer> start_sum(std::vector<Tensor> values, bool in_order) override {
    if (values.at(0).device() == Device::cpu) return host_sums_->start(values);
    require(communicator_ != nullptr, "sums over processes: their devices are not connected");
    return communicator_->start_sum(std::move(values), in_order);
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
  /// Throws SharedError where two processes of one host have the same device.
  void require_devices_apart(const std::string& device) {
    const std::vector<std::string> hosts = gather(host_);
    const std::vector<std::string> devices = gather(device);
    for (std::size_t b = 0; b < hosts.size(); ++b)
      for (std::size_t a = 0; a < b; ++a)
        if (hosts[a] == hosts[b] && devices[a] == devices[b])
          throw SharedError(fmt::format(
              "rank {} and rank {} of host {} have the same GPU, {}: each process needs one of its "
              "own",
              a, b, hosts[a], devices[a]));
  }

  /// How many cores are this process's: each that it may use, divided among those of this host that may use
  /// it as well.
  void find_cores() {
    MPI_Comm on_host = MPI_COMM_NULL;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &on_host);
    MPI_Comm_size(on_host, &on_host_.size);
    MPI_Comm_rank(on_host, &on_host_.rank);
    const int processes = on_host_.size;
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
  HostPlace on_host_;
  std::string host_;
  std::optional<HostSums> host_sums_;
  std::unique_ptr<Communicator> communicator_;
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
  const std::string first = all.substr(0, all.find_first_of(",\n"));
  constexpr std::string_view word = " Version:\t";  // MPICH's
  const std::size_t place = first.find(word);
  return place == std::string::npos
             ? first
             : fmt::format("{} {}", first.substr(0, place), first.substr(place + word.size()));
}

std::unique_ptr<Group> join_mpi_group() { return std::make_unique<MpiGroup>(); }

}  // namespace generous
