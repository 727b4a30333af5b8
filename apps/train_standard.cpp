// Stage 1: trains a standard teacher, or a student alone, by cross-entropy.
#include "apps/training/program.h"
#include "apps/training/trainer.h"

int main(int argc, char** argv) {
  using namespace generous;
  return run_program(Program::train_standard, argc, argv,
                     [](const Config& config) { return train(config, standard_objective); });
}
