// The server of `tumbler serve`: OpenAI's API, the page and what the page asks for, on one address.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "chat/server/hosted_model.h"

namespace tumbler::chat {

struct ServerOptions {
  std::string host = "127.0.0.1";
  int port = 8080;                         // 0: any that is free
  std::vector<std::string> models = {};    // loaded at the start
  std::vector<std::string> folders = {};   // looked through for models
  std::vector<std::string> api_keys = {};  // empty: none needed
  HostOptions hosting;
  double request_seconds = 600;
  int64_t max_body = int64_t{16} << 20;  // bytes
  std::string data = {};                 // where chats are kept; empty: none are
  double idle_minutes = 0;               // 0: models stay
  std::string version;
};

class Server {
 public:
  // Loads the models and listens. Throws Error where that cannot be.
  explicit Server(const ServerOptions& options);
  ~Server();
  int port() const noexcept;
  // Serves until stop(), which may come from a signal handler's thread.
  void run();
  void stop();

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace tumbler::chat
