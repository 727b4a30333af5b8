#include "nn/parallel/group.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "nn/parallel/mpi_group.h"

namespace generous {

namespace {

class Done : public Transfer {
 public:
  void progress() override {}
  void wait() override {}
};

class GroupOfOne : public Group {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  std::string name() const override { return {}; }
  int threads(int asked) const override { return asked; }
  std::string complaint() const override { return {}; }
  HostPlace on_host() const override { return {}; }
  void connect(Device /*device*/) override {}
  std::unique_ptr<Transfer> start_sum(std::vector<Tensor> /*values*/, bool /*in_order*/) override {
    return no_transfer();
  }
  void sum(std::span<double> /*values*/) override {}
  void broadcast(std::span<std::byte> /*bytes*/) override {}
  int most(int value) override { return value; }
  std::vector<std::string> gather(const std::string& text) override { return {text}; }
  void abort(int exit_code) override { std::_Exit(exit_code); }
};

/// The number of processes that mpirun or srun says it has started; 0 where none did.
int processes_started() {
  // Of Open MPI; of MPICH and others of its family; of a step of Slurm.
  for (const char* variable : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"})
    if (const char* text = std::getenv(variable)) return std::atoi(text);
  return 0;
}

/// Fields of a text that no field contains.
constexpr char separator = '\x1f';

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> fields;
  std::size_t begin = 0;
  for (std::size_t end = 0; end != std::string::npos; begin = end + 1) {
    end = text.find(separator, begin);
    fields.push_back(text.substr(begin, end - begin));
  }
  return fields;
}

}  // namespace

std::unique_ptr<Transfer> no_transfer() { return std::make_unique<Done>(); }

std::unique_ptr<Group> group_of_one() { return std::make_unique<GroupOfOne>(); }

std::unique_ptr<Group> join_group() {
  const int started = processes_started();
  if (started <= 1) return group_of_one();
  if (!has_mpi())
    fail(
        "started as one of {} processes, but built without MPI: install libopenmpi-dev and configure with "
        "-DGENEROUS_MPI=ON",
        started);
  std::unique_ptr<Group> group = join_mpi_group();
  require(
      group->size() == started,
      "started as one of {} processes, but {} finds {}: the program was built with another MPI than the one "
      "that starts it",
      started, mpi_version(), group->size());
  return group;
}

void agree(Group& group, const Failure& failure) {
  const auto all = group.gather(
      fmt::format("{}{}{}{}{}", failure.exit_code, separator, group.name(), separator, failure.message));
  std::vector<Failure> failures;
  std::vector<std::string> names;
  for (const std::string& text : all) {
    const std::vector<std::string> fields = split(text);
    failures.push_back({fields.at(2), std::atoi(fields.at(0).c_str())});
    names.push_back(fields.at(1));
  }
  const auto first =
      std::find_if(failures.begin(), failures.end(), [](const Failure& of) { return !of.message.empty(); });
  if (first == failures.end()) return;
  const bool everyone = std::all_of(failures.begin(), failures.end(),
                                    [&](const Failure& of) { return of.message == first->message; });
  const std::string& name = names[static_cast<std::size_t>(first - failures.begin())];
  throw SharedError(everyone ? first->message : fmt::format("{}: {}", name, first->message),
                    first->exit_code);
}

void require_same(Group& group, const Facts& facts) {
  std::string own = group.name();
  for (const auto& [what, value] : facts) own += fmt::format("{}{}{}{}", separator, what, separator, value);
  const std::vector<std::string> all = group.gather(own);
  const std::vector<std::string> first = split(all[0]);
  for (const std::string& text : all) {
    const std::vector<std::string> other = split(text);
    for (std::size_t i = 1; i + 1 < std::min(first.size(), other.size()); i += 2) {
      if (first[i] == other[i] && first[i + 1] == other[i + 1]) continue;
      if (first[i] != other[i])
        throw SharedError(fmt::format("{} has {} where {} has {}: all must be started in the same way",
                                      other[0], other[i], first[0], first[i]));
      throw SharedError(fmt::format("the processes differ in {}: {} has {}, {} has {}", first[i], first[0],
                                    first[i + 1], other[0], other[i + 1]));
    }
    if (first.size() != other.size())
      throw SharedError(
          fmt::format("{} has {} settings and inputs, {} has {}: all must be started in the same way",
                      other[0], other.size() / 2, first[0], first.size() / 2));
  }
}

}  // namespace generous
