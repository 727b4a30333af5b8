#include "core/console.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <future>
#include <memory>
#include <string>
#include <system_error>
#include <thread>

#include "core/error.h"
#include "core/printable.h"

namespace generous {

void prepare_standard_streams() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(descriptor, F_GETFD) >= 0 || errno != EBADF) continue;
    // The lowest free descriptor is this one: those below it are taken.
    const int flags = descriptor == STDERR_FILENO ? O_WRONLY : O_RDONLY;
    static_cast<void>(::open("/dev/null", flags));
  }
  std::signal(SIGPIPE, SIG_IGN);
}

int write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {  // another process made the terminal that they share non-blocking
      pollfd room{.fd = descriptor, .events = POLLOUT, .revents = 0};
      ::poll(&room, 1, -1);
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

void print_line(std::string_view line) { print_lines(std::string(line) + "\n"); }

void print_lines(std::string_view lines) {
  std::string text;
  while (!lines.empty()) {
    const std::size_t end = lines.find('\n');
    text += printable(lines.substr(0, end)) + "\n";
    lines.remove_prefix(end == std::string_view::npos ? lines.size() : end + 1);
  }
  const int error = write_all(STDOUT_FILENO, text);
  if (error != 0)
    fail("the result is lost: cannot write to standard output: {}", std::system_category().message(error));
}

void print_error(std::string_view line) noexcept {
  try {
    const std::string text = printable(line) + "\n";
    const auto written = std::make_shared<std::promise<void>>();
    const std::future<void> done = written->get_future();
    try {
      // The thread may outlive this call: it owns all that it uses.
      std::thread([text, written] {
        write_all(STDERR_FILENO, text);
        written->set_value();
      }).detach();
    } catch (const std::system_error&) {  // no thread to be had
      write_all(STDERR_FILENO, text);
      return;
    }
    done.wait_for(patience);
  } catch (...) {  // no memory: nothing can be said
  }
}

}  // namespace generous
