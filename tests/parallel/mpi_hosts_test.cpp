// Hosts of their own: network namespaces with names and addresses, joined by a bridge, where Open MPI starts
// its daemons by a launch agent as it would by ssh. Only where this process may make them.
#include <sys/stat.h>

#include <thread>

#include "tests/parallel/mpi_runs.h"

namespace generous {
namespace {

namespace fs = std::filesystem;

bool shell(const std::string& command) {
  return std::system(("{ " + command + "; } >/dev/null 2>&1").c_str()) == 0;
}

/// 10.213.7.1, .2 and .3.
std::string address(int host) { return "10.213.7." + std::to_string(host + 1); }

class Hosts {
 public:
  static constexpr int count = 3;

  explicit Hosts(const fs::path& folder)
      : prefix_("g" + std::to_string(::getpid())), agent_(folder / "agent") {
    possible_ = shell("ip link add " + prefix_ + " type bridge && ip link set " + prefix_ + " up");
    for (int host = 0; host < count && possible_; ++host) {
      const std::string space = "ip -n " + space_of(host);
      const std::string wire = space_of(host) + "w";
      possible_ = shell("ip netns add " + space_of(host) + " && ip link add " + wire +
                        " type veth peer name eth0 netns " + space_of(host) + " && ip link set " + wire +
                        " master " + prefix_ + " up && " + space + " addr add " + address(host) +
                        "/24 dev eth0 && " + space + " link set eth0 up && " + space + " link set lo up");
    }
    possible_ = possible_ && shell(enter(0) + "unshare --uts true");
    std::string script = "#!/bin/sh\naddress=$1\nshift\ncase $address in\n";
    for (int host = 0; host < count; ++host) script += address(host) + ") exec " + in(host, "$*") + " ;;\n";
    write_text(agent_, script + "esac\n");
    ::chmod(agent_.c_str(), 0700);
  }
  ~Hosts() {
    for (int host = 0; host < count; ++host) shell("ip netns del " + space_of(host));
    shell("ip link del " + prefix_);
  }
  Hosts(const Hosts&) = delete;
  Hosts& operator=(const Hosts&) = delete;

  bool possible() const { return possible_; }

  /// The command line of mpirun on the first host, with a process on each.
  Arguments together(const std::string& program, const Arguments& flags) const {
    std::string command = GENEROUS_MPIRUN " --bind-to none --mca plm_rsh_agent " + agent_.string() +
                          " --mca btl tcp,self --mca btl_tcp_if_include 10.213.7.0/24"
                          " --mca oob_tcp_if_include 10.213.7.0/24 --mca oob_tcp_keepalive_time 1"
                          " --mca oob_tcp_keepalive_intvl 1 --mca oob_tcp_keepalive_probes 2 --host host0";
    for (int host = 1; host < count; ++host) command += "," + address(host);
    command += " -np " + std::to_string(count) + " " + program_path(program);
    for (const std::string& flag : flags) command += " " + flag;
    return {"-c", "exec " + in(0, "exec " + command)};
  }

  void cut_off(int host) const { REQUIRE(shell("ip -n " + space_of(host) + " link set eth0 down")); }
  void join_again(int host) const { REQUIRE(shell("ip -n " + space_of(host) + " link set eth0 up")); }

 private:
  std::string space_of(int host) const { return prefix_ + "h" + std::to_string(host); }
  std::string enter(int host) const { return "ip netns exec " + space_of(host) + " "; }
  /// A command without quotation marks, on a host that knows its name.
  std::string in(int host, const std::string& command) const {
    return enter(host) + "unshare --uts sh -c \"hostname host" + std::to_string(host) + "; " + command + "\"";
  }

  std::string prefix_;
  fs::path agent_;
  bool possible_ = false;
};

}  // namespace

TEST_CASE("three hosts train together; one that is cut off ends all, and the run goes on") {
  const TemporaryFolder folder;
  const Hosts hosts(folder.path());
  if (!hosts.possible()) {
    MESSAGE("not here: no namespaces, or none of ip, unshare and hostname");
    return;
  }
  prepare_mpi();
  make_images(folder / "images");
  const auto flags = [&](const std::string& name) {
    return small_run(folder / "images", folder / name) + Arguments{"--drop_last", "1"};
  };
  const Arguments short_run{"--num_epochs", "2", "--micro_batches", "3", "--deterministic", "1"};
  completes("train_standard", flags("one") + short_run);
  const Finished three = run_app("/bin/sh", hosts.together("train_standard", flags("three") + short_run));
  CAPTURE(three.err);
  REQUIRE(three.exit_code == 0);
  CHECK(read_file(folder / "one" / "training_state.safetensors") ==
        read_file(folder / "three" / "training_state.safetensors"));

  {
    RunningProgram program(
        "/bin/sh", hosts.together("train_standard", flags("cut") + Arguments{"--num_epochs", "5000"}));
    wait_for_epochs(folder / "cut", 2);
    hosts.cut_off(1);
    CHECK(ends_within(program, 30) != 0);
    // In which words depends on whether mpirun misses the host or the agent that it was started by first.
    CHECK_FALSE(program.err().empty());
  }
  hosts.join_again(1);
  const std::size_t rows = csv_rows(folder / "cut" / "metrics.csv").size();
  const Finished resumed = run_app(
      "/bin/sh", hosts.together("train_standard", {"--save_path", (folder / "cut").string(), "--resume",
                                                   "--num_epochs", std::to_string(rows)}));
  CAPTURE(resumed.err);
  CHECK(resumed.exit_code == 0);
  CHECK(csv_rows(folder / "cut" / "metrics.csv").size() == rows + 1);
}

}  // namespace generous
