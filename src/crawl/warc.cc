#include "crawl/warc.h"

#include <algorithm>
#include <charconv>

#include "base/check.h"
#include "crawl/ascii.h"
#include "crawl/byte_stream.h"
#include "crawl/page.h"

namespace tumbler::crawl {
namespace {

constexpr size_t kMaxHeaderBytes = size_t{256} << 10;  // URLs of 64 KiB exist
constexpr size_t kMaxBlockBytes =
    static_cast<size_t>(kMaxPageBytes) + (size_t{1} << 20);  // a page and its HTTP headers
constexpr size_t kMaxVersionLine = 16;                       // "WARC/1.1\r\n" with room
constexpr uint64_t kBombBytes = uint64_t{1}
                                << 30;  // a record this large that compresses this well is no page
constexpr uint64_t kBombRatio = 200;    // deflate's own limit is 1032
constexpr size_t kNpos = std::string_view::npos;

enum class Match { kNo, kYes, kCutOff };

// "WARC/<digit>.<digits>" and a line end (case as the standard's grammar has it: any).
Match match_version_line(std::string_view bytes) {
  constexpr std::string_view kName = "warc/";
  for (size_t i = 0; i < kName.size(); ++i) {
    if (i == bytes.size()) return Match::kCutOff;
    if (ascii_lower(bytes[i]) != kName[i]) return Match::kNo;
  }
  for (size_t i = kName.size(); i < kMaxVersionLine; ++i) {
    if (i == bytes.size()) return Match::kCutOff;
    if (bytes[i] == '\n') return i > kName.size() + 1 ? Match::kYes : Match::kNo;
    if (!is_digit(bytes[i]) && bytes[i] != '.' && bytes[i] != '\r' && bytes[i] != ' ') return Match::kNo;
  }
  return Match::kNo;
}

// Index of the first record that starts at the beginning of a line at `from` or later.
size_t find_version_line(std::string_view bytes, size_t from) {
  for (size_t at = from; at < bytes.size();) {
    const size_t slash = bytes.find('/', at);
    if (slash == kNpos) return kNpos;
    at = slash + 1;
    if (slash < from + 4) continue;
    const size_t start = slash - 4;
    if (start > 0 && bytes[start - 1] != '\n') continue;
    if (match_version_line(bytes.substr(start)) == Match::kYes) return start;
  }
  return kNpos;
}

bool is_padding(char c) {
  return c == '\r' || c == '\n' || c == '\0';
}

// The empty line that ends the header lines: index after it, or kNpos.
size_t find_header_end(std::string_view bytes, size_t from) {
  for (size_t at = bytes.find('\n', from); at != kNpos; at = bytes.find('\n', at + 1)) {
    const std::string_view rest = bytes.substr(at + 1, 2);
    if (rest.starts_with('\n')) return at + 2;
    if (rest == "\r\n") return at + 3;
  }
  return kNpos;
}

struct Header {
  WarcRecord record;
  std::optional<uint64_t> length;
};

std::string strip_brackets(std::string_view text) {
  if (text.size() >= 2 && text.front() == '<' && text.back() == '>') text = text.substr(1, text.size() - 2);
  return std::string(text);
}

std::optional<uint64_t> parse_length(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > uint64_t{1} << 60)
    return std::nullopt;
  return value;
}

void set_field(Header& header, std::string_view name, std::string_view value) {
  WarcRecord& r = header.record;
  if (equals_ignore_case(name, "content-length")) {
    if (!header.length) header.length = parse_length(value);
  } else if (equals_ignore_case(name, "warc-type")) {
    r.type = to_lower(value);
  } else if (equals_ignore_case(name, "warc-record-id")) {
    r.id = strip_brackets(value);
  } else if (equals_ignore_case(name, "warc-target-uri")) {
    r.target_uri =
        strip_brackets(value);  // wget 1.14 to 1.20 write <http://…>, as the standard's grammar once had it
  } else if (equals_ignore_case(name, "warc-date")) {
    r.date = std::string(value);
  } else if (equals_ignore_case(name, "warc-identified-payload-type")) {
    r.payload_type = to_lower(value);
  } else if (equals_ignore_case(name, "content-type")) {
    r.content_type = std::string(value);
  }
}

// Header lines after the version line; a line without a colon is passed over, a line that starts with a blank
// goes on with the last.
Header parse_header(std::string_view lines) {
  Header header;
  std::string folded;
  while (!lines.empty()) {
    std::string_view line = take_line(lines);
    std::string_view field = line;
    if (!lines.empty() && (lines.front() == ' ' || lines.front() == '\t')) {
      folded = line;
      while (!lines.empty() && (lines.front() == ' ' || lines.front() == '\t'))
        folded.append(" ").append(trim(take_line(lines)));
      field = folded;
    }
    const size_t colon = field.find(':');
    if (colon != kNpos) set_field(header, trim(field.substr(0, colon)), trim(field.substr(colon + 1)));
  }
  return header;
}

}  // namespace

struct WarcReader::State {
  explicit State(const std::filesystem::path& path) : stream(path), name(path.string()) {}

  ByteStream stream;
  std::string name;
  size_t used = 0;  // bytes of the window that the last record took
  bool at_start = true;
  bool resync = false;  // look for the next record without another word: the damage has been told
  std::optional<Reason> pending;

  using Outcome = std::optional<Result<WarcRecord>>;

  Reason bad(const char* code, std::string detail) {
    return {code, fmt::format("{} (at byte {} of {})", detail, stream.window_offset(), name)};
  }
  Outcome damaged() {
    resync = false;
    return Reason{stream.damage()};
  }
  void consume_all() { stream.consume(stream.window().size()); }

  // The first record start in the window at `from` or later; a member that starts with one counts wherever it
  // is. A window that starts in the middle of a line is searched from its second byte on: `lines_from` 1.
  size_t find_record(size_t from, size_t lines_from) const {
    const std::string_view w = stream.window();
    const size_t found = find_version_line(w, lines_from);
    for (std::optional<size_t> m = stream.find_member_start(from); m && *m < found;
         m = stream.find_member_start(*m + 1))
      if (match_version_line(w.substr(*m)) == Match::kYes) return *m;
    return found;
  }

  // Drops bytes until a record starts; nullopt: found. `limit`: no further than this many bytes.
  std::optional<Outcome> skip_to_record(uint64_t limit, uint64_t& skipped) {
    const int64_t start = stream.position();
    for (;;) {
      const size_t found = find_record(0, 1);
      const size_t size = stream.window().size();
      if (found != kNpos || size >= limit - skipped) {
        const size_t n = static_cast<size_t>(std::min<uint64_t>(found, limit - skipped));
        stream.consume(n);
        skipped += n;
        return std::nullopt;
      }
      const size_t n = size > kMaxVersionLine ? size - kMaxVersionLine : 0;
      stream.consume(n);
      skipped += n;
      if (skipped > kBombBytes && skipped / kBombRatio > static_cast<uint64_t>(stream.position() - start)) {
        stream.abandon_member();
        return Outcome(
            bad("gzip_bomb", fmt::format("{} bytes without a record, over {} times their compressed size",
                                         skipped, kBombRatio)));
      }
      switch (stream.fill()) {
        case ByteStream::Fill::kData:
          break;
        case ByteStream::Fill::kDamaged:
          return damaged();
        case ByteStream::Fill::kEnd:
          skipped += stream.window().size();
          consume_all();
          return std::nullopt;
      }
    }
  }

  // Makes the window at least `size` bytes; nullopt: it is.
  std::optional<Outcome> need(size_t size, const char* what) {
    while (stream.window().size() < size) {
      switch (stream.fill()) {
        case ByteStream::Fill::kData:
          break;
        case ByteStream::Fill::kDamaged:
          return damaged();
        case ByteStream::Fill::kEnd: {
          Reason reason = bad("truncated_record", fmt::format("the file ends in {}", what));
          consume_all();
          return Outcome(std::move(reason));
        }
      }
    }
    return std::nullopt;
  }

  Outcome next() {
    stream.consume(std::exchange(used, 0));
    if (pending) return Outcome(*std::exchange(pending, std::nullopt));
    if (resync) {
      resync = false;
      uint64_t skipped = 0;
      if (auto out = skip_to_record(UINT64_MAX, skipped)) return *out;
    }
    for (;;) {  // blank lines between records
      const std::string_view w = stream.window();
      const size_t n = static_cast<size_t>(std::find_if_not(w.begin(), w.end(), is_padding) - w.begin());
      stream.consume(n);
      if (n < w.size()) break;
      const ByteStream::Fill fill = stream.fill();
      if (fill == ByteStream::Fill::kEnd) return std::nullopt;
      if (fill == ByteStream::Fill::kDamaged) return damaged();
    }
    return read_record();
  }

  Outcome read_record() {
    Match match;
    while ((match = match_version_line(stream.window())) == Match::kCutOff)
      if (auto out = need(stream.window().size() + 1, "a version line")) return *out;
    const bool first = std::exchange(at_start, false);
    if (match == Match::kNo) return garbage(first);

    size_t header_end = kNpos, looked_at = 0;
    while ((header_end = find_header_end(stream.window().substr(0, kMaxHeaderBytes), looked_at)) == kNpos) {
      const size_t size = stream.window().size();
      if (size >= kMaxHeaderBytes)
        return bad_header(fmt::format("no end of the header lines in {} bytes", kMaxHeaderBytes));
      looked_at = size - std::min<size_t>(size, 2);
      if (auto out = need(size + 1, "header lines")) return *out;
    }
    std::string_view lines = stream.window().substr(0, header_end);
    take_line(lines);
    if (find_version_line(lines, 0) != kNpos) return bad_header("another record begins in the header lines");
    Header header = parse_header(lines);
    if (!header.length) return bad_header("no Content-Length that is a number");
    header.record.offset = stream.window_offset();
    if (*header.length > kMaxBlockBytes) return skip_large(header_end, *header.length);
    return read_block(std::move(header), header_end);
  }

  Outcome garbage(bool first) {
    if (first && stream.window().starts_with("filedesc:")) {
      Reason reason = bad("arc_file", "an ARC file, expected WARC; convert it first (warcio recompress)");
      consume_all();
      while (stream.fill() != ByteStream::Fill::kEnd) consume_all();
      return reason;
    }
    uint64_t skipped = 0;
    const Reason reason = bad("garbage", "bytes between records");
    stream.consume(1);  // what is here is no record; the search looks at line starts
    if (auto out = skip_to_record(UINT64_MAX, skipped)) {
      if (*out && !(*out)->ok()) pending = (*out)->reason();
    }
    return reason;
  }

  Outcome bad_header(std::string detail) {
    Reason reason = bad("bad_header", std::move(detail));
    stream.consume(5);
    resync = true;
    return reason;
  }

  // A record beyond the limit, passed over without being held. A length that leads nowhere is a wrong length.
  Outcome skip_large(size_t header_end, uint64_t length) {
    const size_t size = stream.window().size();
    if (!stream.is_compressed()) {
      if (length > size - header_end || !ends_well(header_end + static_cast<size_t>(length)))
        return wrong_length(header_end, header_end, length);
      Reason reason =
          bad("too_large", fmt::format("a record of {} bytes, the limit is {}", length, kMaxBlockBytes));
      stream.consume(header_end + static_cast<size_t>(length));
      return reason;
    }
    Reason reason =
        bad("too_large", fmt::format("a record of {} bytes, the limit is {}", length, kMaxBlockBytes));
    stream.consume(header_end);
    uint64_t skipped = 0;
    if (auto out = skip_to_record(length, skipped)) {
      if (*out && !(*out)->ok()) pending = (*out)->reason();
    } else if (skipped < length) {
      reason = bad("bad_length",
                   fmt::format("Content-Length is {}, the next record or the end comes after {} bytes",
                               length, skipped));
    }
    return reason;
  }

  Outcome read_block(Header header, size_t header_end) {
    const size_t length = static_cast<size_t>(*header.length);
    const size_t record_end = header_end + length;
    while (stream.window().size() < record_end) {
      const size_t before = stream.window().size();
      const ByteStream::Fill fill = stream.fill();
      if (fill == ByteStream::Fill::kDamaged) return damaged();
      if (fill == ByteStream::Fill::kEnd) return wrong_length(header_end, header_end, length);
      // The member ended early and the next one is a record: the length was wrong, the record is not to be
      // swallowed.
      const std::optional<size_t> member = stream.find_member_start(before);
      if (member && *member < record_end && match_version_line(stream.window().substr(*member)) != Match::kNo)
        return wrong_length(header_end, *member, length);
    }
    switch (check_end(record_end)) {
      case End::kGood:
        break;
      case End::kWrong:
        return wrong_length(header_end, header_end, length);
      case End::kDamaged:
        return damaged();
    }
    header.record.block = stream.window().substr(header_end, length);
    used = record_end;
    return std::move(header.record);
  }

  // A Content-Length that does not lead to a record's end: go on at the next record after `from`.
  Outcome wrong_length(size_t header_end, size_t from, uint64_t length) {
    const size_t found = find_record(from, from);
    const size_t size = stream.window().size();
    Reason reason =
        found == kNpos && length > size - header_end
            ? bad("truncated_record", fmt::format("Content-Length is {}, the file ends after {} bytes",
                                                  length, size - header_end))
            : bad("bad_length", fmt::format("no record ends where Content-Length {} says", length));
    if (found == kNpos) {
      stream.consume(std::min<size_t>(size, from));
      resync = true;
    } else {
      stream.consume(found);
    }
    return reason;
  }

  bool ends_well(size_t at) { return check_end(at) == End::kGood; }

  enum class End { kGood, kWrong, kDamaged };
  // After a block: the end of the file or member, another record (with or without the blank lines), or at
  // least the two line ends.
  End check_end(size_t at) {
    size_t i = at;
    for (;;) {
      const std::string_view w = stream.window();
      while (i < w.size() && is_padding(w[i])) ++i;
      const Match match = i < w.size() ? match_version_line(w.substr(i)) : Match::kCutOff;
      if (match == Match::kYes) return End::kGood;
      if (match == Match::kNo) return two_line_ends(w.substr(at, i - at)) ? End::kGood : End::kWrong;
      if (stream.at_member_end())
        return i == w.size() || two_line_ends(w.substr(at, i - at)) ? End::kGood : End::kWrong;
      switch (stream.fill()) {
        case ByteStream::Fill::kData:
          break;
        case ByteStream::Fill::kEnd:
          return End::kGood;
        case ByteStream::Fill::kDamaged:
          return End::kDamaged;
      }
    }
  }
  static bool two_line_ends(std::string_view padding) {
    return std::count(padding.begin(), padding.end(), '\n') >= 2;
  }
};

WarcReader::WarcReader(const std::filesystem::path& path) : state_(std::make_unique<State>(path)) {}
WarcReader::~WarcReader() = default;
WarcReader::WarcReader(WarcReader&&) noexcept = default;
std::optional<Result<WarcRecord>> WarcReader::next() {
  return state_->next();
}
int64_t WarcReader::position() const {
  return state_->stream.position();
}

}  // namespace tumbler::crawl
