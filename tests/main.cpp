#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "core/threads.h"

int main(int argc, char** argv) {
  generous::give_way_while_waiting(argv);
  return doctest::Context(argc, argv).run();
}
