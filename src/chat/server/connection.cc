#include "chat/server/connection.h"

#include <charconv>
#include <filesystem>
#include <string>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

namespace tumbler::chat {
namespace {

struct Address {
  std::string ip;
  int port = -1;
};

Address address_of(const sockaddr_storage& storage) {
  char text[INET6_ADDRSTRLEN] = "";
  if (storage.ss_family == AF_INET) {
    const auto& in = reinterpret_cast<const sockaddr_in&>(storage);
    ::inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text));
    return {text, ntohs(in.sin_port)};
  }
  if (storage.ss_family == AF_INET6) {
    const auto& in = reinterpret_cast<const sockaddr_in6&>(storage);
    ::inet_ntop(AF_INET6, &in.sin6_addr, text, sizeof(text));
    return {text, ntohs(in.sin6_port)};
  }
  return {};
}

bool is_socket_of(int fd, const httplib::Request& request) {
  sockaddr_storage peer = {}, self = {};
  socklen_t peer_size = sizeof(peer), self_size = sizeof(self);
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &peer_size) != 0) return false;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&self), &self_size) != 0) return false;
  const Address from = address_of(peer), to = address_of(self);
  return from.port == request.remote_port && from.ip == request.remote_addr && to.port == request.local_port;
}

}  // namespace

Connection::Connection(const httplib::Request& request) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
    const std::string name = entry.path().filename().string();
    int fd = -1;
    std::from_chars(name.data(), name.data() + name.size(), fd);
    if (fd >= 0 && is_socket_of(fd, request)) {
      fd_ = fd;
      return;
    }
  }
}

bool Connection::closed() const {
  if (fd_ < 0) return false;
  pollfd state{fd_, POLLRDHUP, 0};
  return ::poll(&state, 1, 0) > 0 && (state.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

}  // namespace tumbler::chat
