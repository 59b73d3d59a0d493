#include "crawl/byte_stream.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <limits>
#include <string>
#include <vector>

#include <libdeflate.h>
#include <sys/mman.h>
#include <zlib.h>
#include <zstd.h>

#include "base/check.h"
#include "base/error.h"
#include "io/file.h"

namespace tumbler::crawl {
namespace {

constexpr size_t kChunk = size_t{256} << 10;  // what a streaming decoder adds at a time
constexpr size_t kFirstMember = size_t{1}
                                << 20;  // a first guess at a member's size: most pages are below 200 kB
constexpr size_t kDropStep = size_t{64}
                             << 20;  // pages of the map behind the reader are given back in steps of this
constexpr size_t kMaxMembersTracked = size_t{1} << 16;  // 1-byte members must not cost 16 bytes each
constexpr size_t kNpos = std::string_view::npos;

constexpr std::string_view kGzipMagic("\x1f\x8b\x08", 3);
constexpr std::string_view kZstdMagic("\x28\xb5\x2f\xfd", 4);

bool is_zstd_skippable(std::string_view bytes) {  // RFC 8878, 3.1.2: 0x184D2A50 to 0x184D2A5F, little endian
  return bytes.size() >= 4 && (static_cast<unsigned char>(bytes[0]) & 0xf0) == 0x50 &&
         bytes.substr(1, 3) == "\x2a\x4d\x18";
}

uint32_t load_u32(std::string_view bytes) {
  uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(bytes[static_cast<size_t>(i)]);
  return value;
}

bool is_gzip_header(std::string_view bytes) {  // RFC 1952: the upper three flag bits are reserved
  return bytes.size() >= 18 && bytes.starts_with(kGzipMagic) &&
         (static_cast<unsigned char>(bytes[3]) & 0xe0) == 0;
}

enum class Step { kMore, kMemberEnd, kTruncated, kBad };

// A streaming decoder of one gzip member or zstd frame.
class Decoder {
 public:
  virtual ~Decoder() = default;
  virtual void start() = 0;
  // Decodes from `in` (advanced) to `out`; `produced` is set.
  virtual Step step(std::string_view& in, char* out, size_t capacity, size_t& produced) = 0;
  virtual std::string error() const = 0;
};

class GzipDecoder final : public Decoder {
 public:
  GzipDecoder() { CHECK(inflateInit2(&z_, 15 + 16) == Z_OK, "zlib has no memory"); }
  ~GzipDecoder() override { inflateEnd(&z_); }
  GzipDecoder(const GzipDecoder&) = delete;
  GzipDecoder& operator=(const GzipDecoder&) = delete;
  void start() override { inflateReset(&z_); }
  Step step(std::string_view& in, char* out, size_t capacity, size_t& produced) override {
    const size_t in_size = std::min<size_t>(in.size(), std::numeric_limits<uInt>::max() / 2);
    z_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
    z_.avail_in = static_cast<uInt>(in_size);
    z_.next_out = reinterpret_cast<Bytef*>(out);
    z_.avail_out = static_cast<uInt>(capacity);
    const int code = inflate(&z_, Z_NO_FLUSH);
    in.remove_prefix(in_size - z_.avail_in);
    produced = capacity - z_.avail_out;
    if (code == Z_STREAM_END) return Step::kMemberEnd;
    if (code == Z_OK && (produced > 0 || !in.empty())) return Step::kMore;
    return (code == Z_OK || code == Z_BUF_ERROR) && in.empty() ? Step::kTruncated : Step::kBad;
  }
  std::string error() const override { return z_.msg != nullptr ? z_.msg : "invalid data"; }

 private:
  z_stream z_{};
};

class ZstdDecoder final : public Decoder {
 public:
  ZstdDecoder() : context_(ZSTD_createDCtx()) { CHECK(context_ != nullptr, "zstd has no memory"); }
  ~ZstdDecoder() override { ZSTD_freeDCtx(context_); }
  ZstdDecoder(const ZstdDecoder&) = delete;
  ZstdDecoder& operator=(const ZstdDecoder&) = delete;
  void start() override { ZSTD_DCtx_reset(context_, ZSTD_reset_session_only); }
  // False where the bytes are no dictionary.
  bool set_dictionary(std::string_view bytes) {
    return !ZSTD_isError(ZSTD_DCtx_loadDictionary(context_, bytes.data(), bytes.size()));
  }
  Step step(std::string_view& in, char* out, size_t capacity, size_t& produced) override {
    ZSTD_inBuffer input{in.data(), in.size(), 0};
    ZSTD_outBuffer output{out, capacity, 0};
    const size_t left = ZSTD_decompressStream(context_, &output, &input);
    in.remove_prefix(input.pos);
    produced = output.pos;
    if (ZSTD_isError(left)) {
      error_ = ZSTD_getErrorName(left);
      return Step::kBad;
    }
    if (left == 0) return Step::kMemberEnd;
    if (in.empty() && produced < capacity) return Step::kTruncated;
    return Step::kMore;
  }
  std::string error() const override { return error_; }

 private:
  ZSTD_DCtx* context_;
  std::string error_;
};

struct LibdeflateFree {
  void operator()(libdeflate_decompressor* d) const { libdeflate_free_decompressor(d); }
};

}  // namespace

struct ByteStream::State {
  enum class Format { kPlain, kGzip, kZstd };
  struct Member {
    uint64_t at;     // bytes of output before it
    size_t in_file;  // where its compressed bytes start
  };

  explicit State(const std::filesystem::path& path) : file(path), in(file.text()) {
    const std::string extension = path.extension().string();
    if (in.starts_with(kGzipMagic.substr(0, 2)) || (extension == ".gz" && !in.starts_with("WARC/")))
      format = Format::kGzip;
    else if (in.starts_with(kZstdMagic) || is_zstd_skippable(in) ||
             (extension == ".zst" && !in.starts_with("WARC/")))
      format = Format::kZstd;
    // Going over bytes twice after damage is worth it, but not without an end (nested members made to trap a
    // reader).
    rescan_budget = 4 * in.size() + (size_t{64} << 20);
    if (!in.empty()) ::madvise(const_cast<char*>(in.data()), in.size(), MADV_SEQUENTIAL);
    if (format == Format::kGzip) {
      decoder = std::make_unique<GzipDecoder>();
      whole.reset(libdeflate_alloc_decompressor());
      CHECK(whole != nullptr, "libdeflate has no memory");
    } else if (format == Format::kZstd) {
      auto zstd = std::make_unique<ZstdDecoder>();
      zstd_decoder = zstd.get();
      decoder = std::move(zstd);
    }
  }

  io::MappedFile file;
  std::string_view in;
  Format format = Format::kPlain;
  size_t in_pos = 0;   // next compressed byte; plain: the window's first byte
  size_t dropped = 0;  // bytes of the map that were given back to the system

  std::unique_ptr<char[]> buffer;
  size_t capacity = 0, begin = 0, end = 0;  // the window is buffer[begin, end)
  uint64_t consumed = 0;                    // bytes of output before `begin`
  std::deque<Member> members;               // of the window, the first may start before it

  std::unique_ptr<libdeflate_decompressor, LibdeflateFree> whole;
  std::unique_ptr<Decoder> decoder;
  ZstdDecoder* zstd_decoder = nullptr;
  bool streaming = false;  // inside a member
  size_t member_start = 0;
  size_t rescan_budget = 0;
  Reason damage;

  void drop_read_pages() {
    if (in_pos < dropped + kDropStep) return;
    const size_t to = in_pos / kDropStep * kDropStep;
    ::madvise(const_cast<char*>(in.data()) + dropped, to - dropped, MADV_DONTNEED);
    dropped = to;
  }

  void reserve(size_t extra) {
    if (begin == end) begin = end = 0;
    if (capacity - end >= extra) return;
    const size_t live = end - begin;
    if (live + extra > capacity) {
      const size_t wanted = std::max(live + extra, capacity + capacity / 2);
      auto grown = std::make_unique_for_overwrite<char[]>(wanted);
      if (live > 0) std::memcpy(grown.get(), buffer.get() + begin, live);
      buffer = std::move(grown);
      capacity = wanted;
    } else {
      std::memmove(buffer.get(), buffer.get() + begin, live);
    }
    begin = 0;
    end = live;
  }

  void add_member(size_t in_file) {
    const uint64_t at = consumed + (end - begin);
    if (!members.empty() && members.back().at == at)
      members.back().in_file = in_file;
    else if (members.size() < kMaxMembersTracked)
      members.push_back({at, in_file});
  }

  Fill fail(const char* code, std::string detail, size_t search_from) {
    damage = {code, std::move(detail)};
    consumed += end - begin;
    begin = end = 0;
    members.clear();
    streaming = false;
    in_pos = find_next_member(search_from);
    return Fill::kDamaged;
  }

  // After a member that could not be decoded: its end is unknown, so look from its second byte on, while the
  // budget lasts.
  Fill fail_member(const char* code, std::string detail) {
    const size_t read = in_pos - member_start;
    size_t from = in_pos;
    if (read <= rescan_budget) {
      rescan_budget -= read;
      from = member_start + 1;
    }
    return fail(code, fmt::format("{} in the member at byte {}", detail, member_start), from);
  }

  // The next place whose first 64 KiB of output have a WARC record in them; the end of the file where there
  // is none.
  size_t find_next_member(size_t from) {
    const std::string_view magic = format == Format::kGzip ? kGzipMagic : kZstdMagic;
    std::vector<char> out(size_t{64} << 10);
    for (size_t at = in.find(magic, from); at != kNpos; at = in.find(magic, at + 1)) {
      if (format == Format::kGzip && !is_gzip_header(in.substr(at))) continue;
      decoder->start();
      std::string_view rest = in.substr(at);
      size_t have = 0;
      for (;;) {
        size_t produced = 0;
        const Step step = decoder->step(rest, out.data() + have, out.size() - have, produced);
        have += produced;
        if (step != Step::kMore || have == out.size()) break;
      }
      const std::string_view text(out.data(), have);
      if (text.starts_with("WARC/") || text.find("\nWARC/") != kNpos) return at;
      const size_t cost = have + (in.size() - at - rest.size());
      if (cost > rescan_budget) break;
      rescan_budget -= cost;
    }
    return in.size();
  }

  Fill fill_compressed() {
    for (;;) {
      drop_read_pages();
      if (streaming) {
        const std::optional<Fill> done = stream_chunk();
        if (done) return *done;
        continue;
      }
      while (in_pos < in.size() && in[in_pos] == '\0') ++in_pos;  // padding between members
      if (in_pos == in.size()) return Fill::kEnd;
      const std::optional<Fill> done = format == Format::kGzip ? start_gzip() : start_zstd();
      if (done) return *done;
    }
  }

  std::optional<Fill> stream_chunk() {
    reserve(kChunk);
    std::string_view rest = in.substr(in_pos);
    size_t produced = 0;
    const Step step = decoder->step(rest, buffer.get() + end, kChunk, produced);
    in_pos = in.size() - rest.size();
    end += produced;
    if (step == Step::kMemberEnd) streaming = false;
    // What was decoded before the damage is handed over first; the decoder says the same again at the next
    // call.
    if (produced > 0) return Fill::kData;
    const bool gzip = format == Format::kGzip;
    if (step == Step::kTruncated)
      return fail_member(gzip ? "truncated_gzip" : "truncated_zstd", "the file ends");
    if (step == Step::kBad) return fail_member(gzip ? "bad_gzip" : "bad_zstd", decoder->error());
    return std::nullopt;
  }

  std::optional<Fill> start_gzip() {
    const std::string_view rest = in.substr(in_pos);
    if (!rest.starts_with(kGzipMagic.substr(0, std::min<size_t>(rest.size(), 2)))) {
      const size_t from = in_pos;
      return fail("garbage", fmt::format("no gzip member at byte {}", from), from);
    }
    member_start = in_pos;
    for (size_t guess = std::max(kFirstMember, capacity - (end - begin));; guess *= 4) {
      guess = std::min(guess, kMaxMemberBytes);
      reserve(guess);
      size_t used = 0, produced = 0;
      const libdeflate_result code = libdeflate_gzip_decompress_ex(
          whole.get(), rest.data(), rest.size(), buffer.get() + end, guess, &used, &produced);
      if (code == LIBDEFLATE_SUCCESS) {
        add_member(in_pos);
        in_pos += used;
        end += produced;
        if (produced > 0) return Fill::kData;
        return std::nullopt;
      }
      if (code != LIBDEFLATE_INSUFFICIENT_SPACE || guess == kMaxMemberBytes) break;
    }
    // Larger than the limit, or damaged: zlib hands over as much of it as can be had.
    add_member(in_pos);
    decoder->start();
    streaming = true;
    return std::nullopt;
  }

  std::optional<Fill> start_zstd() {
    const std::string_view rest = in.substr(in_pos);
    if (is_zstd_skippable(rest)) {
      const size_t size = rest.size() >= 8 ? load_u32(rest.substr(4)) : rest.size();
      if (size > rest.size() - std::min<size_t>(rest.size(), 8)) {
        const size_t from = in_pos + 4;
        return fail("truncated_zstd",
                    fmt::format("a skippable frame at byte {} goes beyond the file", in_pos), from);
      }
      // Zstandard compression for WARC (IIPC): a first frame with this magic holds the dictionary of all
      // others.
      if (in_pos == 0 && rest[0] == '\x5d') load_dictionary(rest.substr(8, size));
      in_pos += 8 + size;
      return std::nullopt;
    }
    if (!rest.starts_with(kZstdMagic)) {
      const size_t from = in_pos;
      return fail("garbage", fmt::format("no zstd frame at byte {}", from), from);
    }
    member_start = in_pos;
    add_member(in_pos);
    decoder->start();
    streaming = true;
    return std::nullopt;
  }

  void load_dictionary(std::string_view bytes) {
    constexpr size_t kMaxDictionary = size_t{16} << 20;
    std::string out;
    if (bytes.starts_with(kZstdMagic)) {  // the dictionary may itself be compressed
      out.resize(kMaxDictionary);
      const size_t size = ZSTD_decompress(out.data(), out.size(), bytes.data(), bytes.size());
      if (ZSTD_isError(size)) return;
      bytes = std::string_view(out).substr(0, size);
    }
    zstd_decoder->set_dictionary(bytes);
  }
};

ByteStream::ByteStream(const std::filesystem::path& path) : state_(std::make_unique<State>(path)) {}
ByteStream::~ByteStream() = default;
ByteStream::ByteStream(ByteStream&&) noexcept = default;

std::string_view ByteStream::window() const {
  const State& s = *state_;
  if (s.format == State::Format::kPlain) return s.in.substr(s.in_pos);
  return {s.buffer.get() + s.begin, s.end - s.begin};
}

void ByteStream::consume(size_t n) {
  State& s = *state_;
  CHECK(n <= window().size());
  if (s.format == State::Format::kPlain) {
    s.in_pos += n;
    s.drop_read_pages();
    return;
  }
  s.begin += n;
  s.consumed += n;
  while (s.members.size() > 1 && s.members[1].at <= s.consumed) s.members.pop_front();
}

ByteStream::Fill ByteStream::fill() {
  return state_->format == State::Format::kPlain ? Fill::kEnd : state_->fill_compressed();
}

const Reason& ByteStream::damage() const {
  return state_->damage;
}

void ByteStream::abandon_member() {
  State& s = *state_;
  if (s.format == State::Format::kPlain) return;
  s.fail("", "", s.in_pos);
}

bool ByteStream::at_member_end() const {
  return !state_->streaming;
}

std::optional<size_t> ByteStream::find_member_start(size_t from) const {
  const State& s = *state_;
  const uint64_t at = s.consumed + from;
  const auto found = std::lower_bound(s.members.begin(), s.members.end(), at,
                                      [](const State::Member& m, uint64_t v) { return m.at < v; });
  if (found == s.members.end() || found->at >= s.consumed + (s.end - s.begin)) return std::nullopt;
  return static_cast<size_t>(found->at - s.consumed);
}

bool ByteStream::is_compressed() const {
  return state_->format != State::Format::kPlain;
}

int64_t ByteStream::position() const {
  return static_cast<int64_t>(state_->in_pos);
}

int64_t ByteStream::window_offset() const {
  const State& s = *state_;
  if (s.format == State::Format::kPlain || s.members.empty()) return static_cast<int64_t>(s.in_pos);
  return static_cast<int64_t>(s.members.front().in_file);
}

}  // namespace tumbler::crawl
