#include "apps/training/display.h"

#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>

#include "core/console.h"
#include "core/printable.h"

namespace generous {

namespace {

constexpr std::size_t most_bytes = std::size_t{1} << 20;

struct Entry {
  std::string text;
  bool drawing;
};

}  // namespace

struct Display::State {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Entry> waiting;
  std::size_t waiting_bytes = 0;
  bool writing = false;  ///< an entry that no longer waits
  bool closing = false;
  bool given_up = false;  ///< waiting again would change nothing
  std::string lost;       ///< why, once lines were lost

  bool idle() const { return waiting.empty() && !writing; }
};

Display::Display(bool shown)
    : shown_(shown), state_(std::make_shared<State>()), writer_([state = state_] { write_from(*state); }) {}

Display::~Display() {
  finish();
  {
    const std::lock_guard lock(state_->mutex);
    state_->closing = true;
    state_->changed.notify_all();
    if (!state_->idle()) writer_.detach();
  }
  if (writer_.joinable()) writer_.join();
}

void Display::write_from(State& state) {
  std::unique_lock lock(state.mutex);
  while (true) {
    state.changed.wait(lock, [&] { return state.closing || !state.waiting.empty(); });
    if (state.waiting.empty()) return;
    const Entry entry = std::move(state.waiting.front());
    state.waiting.pop_front();
    state.waiting_bytes -= entry.text.size();
    state.writing = true;
    lock.unlock();
    const int error = write_all(STDOUT_FILENO, entry.text);
    lock.lock();
    state.writing = false;
    if (error != 0 && error != EBADF && !entry.drawing) state.lost = std::system_category().message(error);
    state.changed.notify_all();
  }
}

void Display::line(std::string_view text) {
  if (!shown_) return;
  std::string line = printable(text) + "\n";
  const std::lock_guard lock(state_->mutex);
  if (state_->waiting_bytes + line.size() > most_bytes) {
    state_->lost = "it takes nothing";
    return;
  }
  state_->waiting_bytes += line.size();
  state_->waiting.push_back({std::move(line), false});
  state_->changed.notify_all();
}

void Display::draw(std::string text) {
  if (!shown_) return;
  const std::lock_guard lock(state_->mutex);
  if (!state_->waiting.empty() && state_->waiting.back().drawing) {
    state_->waiting_bytes -= state_->waiting.back().text.size();
    state_->waiting.pop_back();
  }
  state_->waiting_bytes += text.size();
  state_->waiting.push_back({std::move(text), true});
  state_->changed.notify_all();
}

void Display::flush() {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [&] { return state_->idle(); });
}

std::string Display::finish() {
  std::unique_lock lock(state_->mutex);
  if (!state_->given_up && !state_->changed.wait_for(lock, patience, [&] { return state_->idle(); })) {
    state_->given_up = true;
    if (state_->lost.empty()) state_->lost = "it takes nothing";
  }
  return state_->lost;
}

}  // namespace generous
