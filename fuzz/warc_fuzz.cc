// Any bytes as a WARC file, and each record as an HTTP response: never a crash, a hang or unbounded memory.
#include <cstddef>
#include <cstdint>
#include <string>

#include <sys/mman.h>
#include <unistd.h>

#include "crawl/page.h"
#include "crawl/warc.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const int fd = memfd_create("fuzz.warc", 0);
  if (fd < 0 || write(fd, data, size) != static_cast<ssize_t>(size)) return 0;
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  {
    tumbler::crawl::WarcReader reader(path);
    size_t records = 0;
    while (const auto record = reader.next()) {
      if (++records > size + 16) __builtin_trap();  // more records than bytes: it does not advance
      if (*record) static_cast<void>(tumbler::crawl::parse_http_response((*record)->block, 1 << 20));
    }
  }
  close(fd);
  return 0;
}
