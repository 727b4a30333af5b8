// TrainingStage 3: trains a student with the help of either teacher.
#include "apps/build_state.h"
#include "apps/stages.h"
#include "apps/training/program.h"
#include "apps/training/trainer.h"

int main(int argc, char** argv) {
  using namespace generous;
  return run_program(student_stage.program, argc, argv,
                     [](Options& options) { return train(options, student_stage, stages, build_state()); });
}
