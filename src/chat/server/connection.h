// Has the client of a request gone away? cpp-httplib tells that to who streams an answer, and not to who has
// nothing to send yet.
#pragma once

#include <httplib.h>

namespace tumbler::chat {

class Connection {
 public:
  // Finds the request's socket among this process's by its two addresses.
  explicit Connection(const httplib::Request& request);
  // The client has closed it. False where the socket was not found.
  bool closed() const;

 private:
  int fd_ = -1;
};

}  // namespace tumbler::chat
