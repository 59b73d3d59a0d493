// The bytes of a crawl file after decompression, as a window that grows on demand: plain, gzip (any number of
// members), zstd.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>

#include "base/result.h"

namespace tumbler::crawl {

// The file is mapped; plain files are looked at in place. A gzip member that decompresses to at most
// kMaxMemberBytes is decoded in one go, larger ones (a whole file in one member) and zstd frames chunk by
// chunk, so the window holds what the caller has not consumed, plus at most kMaxMemberBytes. Damage is told
// once, and the next fill() goes on at the next member or frame that holds a WARC record.
class ByteStream {
 public:
  enum class Fill { kData, kEnd, kDamaged };
  static constexpr size_t kMaxMemberBytes = size_t{34} << 20;  // one page of kMaxPageBytes with its headers

  explicit ByteStream(const std::filesystem::path& path);
  ~ByteStream();
  ByteStream(ByteStream&&) noexcept;

  std::string_view window() const;
  void consume(size_t n);
  // Adds at least a byte to the window, or says that there is none. Views into the window are no longer valid
  // after it. After kDamaged (`damage()` tells what) the window is empty: its bytes can't be finished, take
  // them before.
  Fill fill();
  const Reason& damage() const;
  // Gives the current member or frame up and goes on after it (a decompression bomb).
  void abandon_member();

  // True where the window ends with a member, a frame or the file: nothing that began in it goes on.
  bool at_member_end() const;
  // The first member that starts in the window at `from` or later, as an index into the window.
  std::optional<size_t> find_member_start(size_t from) const;
  bool is_compressed() const;

  int64_t position() const;  // bytes of the file read so far
  int64_t window_offset()
      const;  // where in the file the window's first byte is: exact for plain files, else its member's start

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tumbler::crawl
