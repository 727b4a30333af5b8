// Stage 2: trains a generous teacher with the non-target knowledge of a standard teacher.
#include "apps/training/program.h"
#include "apps/training/trainer.h"

int main(int argc, char** argv) {
  using namespace generous;
  return run_program(Program::train_generous, argc, argv,
                     [](const Config& config) { return train(config, generous_objective); });
}
