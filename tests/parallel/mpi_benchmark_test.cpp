// The benchmark by several processes: throughput, and what the sums over them cost.
#include <nlohmann/json.hpp>

#include "tests/parallel/mpi_runs.h"

namespace generous {

TEST_CASE("two processes measure their throughput, and what a step takes longer than without sums") {
  const std::string out =
      completes_together(2, "benchmark",
                         {"--models", "resnet8", "--batch", "9", "--steps", "3", "--threads", "1", "--device",
                          "cpu", "--stages", "standard,kd", "--json", "1"});
  std::vector<std::string> stages;
  std::istringstream lines(out);
  for (std::string text; std::getline(lines, text);) {
    const auto line = nlohmann::json::parse(text);
    stages.push_back(line.at("stage"));
    CHECK(line.at("processes") == 2);
    CHECK(line.at("batch") == 9);
    const double rate = line.at("images_per_s");
    CHECK(rate * line.at("step_ms").get<double>() == doctest::Approx(9e3));
    CHECK(line.at("images_per_s_each").get<double>() == doctest::Approx(rate / 2));
    CHECK(line.at("communication_ms").get<double>() > 0.0);
    const double hidden = line.at("hidden_share");
    CHECK(hidden >= 0.0);
    CHECK(hidden <= 1.0);
    const double exposed = line.at("exposed_ms");
    CHECK(exposed >= 0.0);
    CHECK(exposed < line.at("step_ms"));
    CHECK(line.at("exposed_share").get<double>() ==
          doctest::Approx(exposed / line.at("step_ms").get<double>()));
  }
  CHECK(stages == std::vector<std::string>{"standard", "kd"});
}

}  // namespace generous
