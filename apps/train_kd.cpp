// Stage 3: trains a student with the help of either teacher.
#include "apps/training/program.h"
#include "apps/training/trainer.h"

int main(int argc, char** argv) {
  using namespace generous;
  return run_program(Program::train_kd, argc, argv,
                     [](const Config& config) { return train(config, student_objective); });
}
