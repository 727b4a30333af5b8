#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "core/waiting.h"

int main(int argc, char** argv) {
  const generous::PoliteWaiting waiting;
  return doctest::Context(argc, argv).run();
}
