// A web server for one test: files from memory, on loopback, one connection after the other.
#pragma once

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "core/error.h"

namespace generous {

class FileServer {
 public:
  struct Options {
    std::map<std::string, std::string> files;
    bool ranges = true;                       ///< otherwise every answer is the whole file
    std::size_t held_back = std::size_t(-1);  ///< after so many bytes an answer stops until release()
  };

  explicit FileServer(Options options) : options_(std::move(options)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    require(::bind(listener_, any, bytes) == 0 && ::listen(listener_, 8) == 0 &&
                ::getsockname(listener_, any, &bytes) == 0,
            "cannot listen on loopback");
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~FileServer() {
    stop_ = true;
    thread_.join();
    ::close(listener_);
  }
  FileServer(const FileServer&) = delete;
  FileServer& operator=(const FileServer&) = delete;

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  /// "FILE from OFFSET" of every request so far.
  std::vector<std::string> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  void release() { released_ = true; }

 private:
  void serve() {
    while (!stop_) {
      pollfd waiting{listener_, POLLIN, 0};
      if (::poll(&waiting, 1, 20) != 1) continue;
      const int connection = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (connection < 0) continue;
      answer(connection);
      ::close(connection);
    }
  }

  void answer(int connection) {
    std::string request;
    char buffer[4096];
    while (request.find("\r\n\r\n") == std::string::npos) {
      const ssize_t read = ::read(connection, buffer, sizeof buffer);
      if (read <= 0) return;
      request.append(buffer, static_cast<std::size_t>(read));
    }
    const std::size_t begin = request.find('/') + 1;
    const std::string name = request.substr(begin, request.find(' ', begin) - begin);
    const std::size_t range = request.find("Range: bytes=");
    const std::size_t offset =
        range == std::string::npos ? 0 : std::strtoull(&request[range + 13], nullptr, 10);
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(name + " from " + std::to_string(offset));
    }
    const auto found = options_.files.find(name);
    if (found == options_.files.end()) return send(connection, "404 Not Found", "");
    const std::string& content = found->second;
    if (offset == 0 || !options_.ranges) return send(connection, "200 OK", content);
    if (offset >= content.size()) return send(connection, "416 Range Not Satisfiable", "");
    send(connection,
         "206 Partial Content\r\nContent-Range: bytes " + std::to_string(offset) + "-" +
             std::to_string(content.size() - 1) + "/" + std::to_string(content.size()),
         std::string_view(content).substr(offset));
  }

  void send(int connection, const std::string& status, std::string_view body) const {
    const std::string header = "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) +
                               "\r\nConnection: close\r\n\r\n";
    if (!send_all(connection, header)) return;
    const std::size_t first = std::min(body.size(), options_.held_back);
    if (!send_all(connection, body.substr(0, first))) return;
    while (first < body.size() && !released_ && !stop_) {
      pollfd hung_up{connection, POLLRDHUP, 0};
      if (::poll(&hung_up, 1, 20) == 1) return;
    }
    send_all(connection, body.substr(first));
  }

  static bool send_all(int connection, std::string_view text) {
    while (!text.empty()) {
      const ssize_t sent = ::send(connection, text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      text.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  Options options_;
  int listener_ = -1;
  int port_ = 0;
  mutable std::mutex mutex_;
  std::vector<std::string> requests_;
  std::atomic<bool> released_ = false;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace generous
