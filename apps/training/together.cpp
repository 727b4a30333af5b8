#include "apps/training/together.h"

#include <fmt/format.h>

#include "apps/training/program.h"
#include "core/console.h"

namespace generous {

void Start::agree(const std::function<Facts()>& facts) {
  over_ = true;
  if (group_.size() == 1) return;
  generous::agree(group_, {});
  require_same(group_, facts());
}

void Start::check(const std::function<void()>& step) {
  Failure failure;
  try {
    step();
  } catch (const std::exception&) {
    failure = failure_of(std::current_exception());
  }
  generous::agree(group_, failure);
}

void Start::give_up(const Failure& failure) {
  over_ = true;
  generous::agree(group_, failure);
}

namespace {

/// Of a group of several: `body`, whose exceptions are those of all.
int run_as_one(Group& group, const std::string& program, const std::function<int(Start&)>& body) {
  Start start(group);
  Failure failure;
  try {
    const int code = body(start);
    if (!start.over()) start.agree([] { return Facts(); });
    return code;
  } catch (const SharedError&) {
    throw;
  } catch (const std::exception&) {
    failure = failure_of(std::current_exception());
  }
  if (!start.over()) start.give_up(failure);
  print_error(fmt::format("{}: {}: {}", program, group.name(), failure.message));
  group.abort(failure.exit_code);
  return failure.exit_code;
}

}  // namespace

int run_together(Group& group, const std::string& program, const std::function<int(Start&)>& body) {
  if (group.size() == 1) {
    Start start(group);
    return body(start);
  }
  try {
    const int code = run_as_one(group, program, body);
    return group.is_first() ? code : 0;
  } catch (const SharedError&) {
    if (group.is_first()) throw;
    return 0;
  }
}

}  // namespace generous
