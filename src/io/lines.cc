#include "io/lines.h"

#include <cstring>
#include <vector>

#include <zlib.h>
#include <zstd.h>

#include "base/error.h"

namespace tumbler::io {

struct LineWriter::Compressor {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  std::vector<char> out = std::vector<char>(ZSTD_CStreamOutSize());
  ~Compressor() { ZSTD_freeCCtx(context); }

  void push(AtomicFile& file, std::string_view bytes, ZSTD_EndDirective directive) {
    ZSTD_inBuffer input{bytes.data(), bytes.size(), 0};
    for (;;) {
      ZSTD_outBuffer output{out.data(), out.size(), 0};
      const size_t left = ZSTD_compressStream2(context, &output, &input, directive);
      if (ZSTD_isError(left)) throw Error("zstd", "compression failed: {}", ZSTD_getErrorName(left));
      file.write(out.data(), output.pos);
      if (directive == ZSTD_e_end ? left == 0 : input.pos == input.size) return;
    }
  }
};

LineWriter::LineWriter(const std::filesystem::path& path, int level) : file_(path) {
  if (path.extension() != ".zst") return;
  compressor_ = std::make_unique<Compressor>();
  ZSTD_CCtx_setParameter(compressor_->context, ZSTD_c_compressionLevel, level);
  ZSTD_CCtx_setParameter(compressor_->context, ZSTD_c_checksumFlag, 1);
}

LineWriter::~LineWriter() = default;

void LineWriter::write_line(std::string_view line) {
  if (compressor_) {
    compressor_->push(file_, line, ZSTD_e_continue);
    compressor_->push(file_, "\n", ZSTD_e_continue);
  } else {
    file_.write(line);
    file_.write("\n");
  }
}

void LineWriter::commit() {
  if (compressor_) compressor_->push(file_, {}, ZSTD_e_end);
  file_.commit();
}

struct LineReader::State {
  std::string path;
  std::FILE* file = nullptr;
  ZSTD_DCtx* zstd = nullptr;
  gzFile gzip = nullptr;
  std::vector<char> in;
  ZSTD_inBuffer input{nullptr, 0, 0};
  size_t frame_left = 0;  // 0 between zstd frames
  std::string buffer;
  size_t begin = 0;    // first byte of the next line in buffer
  size_t scanned = 0;  // bytes of buffer known to hold no newline
  bool end = false;
  int64_t max_line_bytes = 0;

  ~State() {
    if (zstd != nullptr) ZSTD_freeDCtx(zstd);
    if (gzip != nullptr) gzclose(gzip);
    if (file != nullptr) std::fclose(file);
  }

  void fill() {
    if (begin > 0) {
      buffer.erase(0, begin);
      scanned -= begin;
      begin = 0;
    }
    constexpr size_t kChunk = 1 << 18;
    const size_t old = buffer.size();
    buffer.resize(old + kChunk);
    buffer.resize(old + (zstd != nullptr ? read_zstd(buffer.data() + old, kChunk)
                                         : read_plain(buffer.data() + old, kChunk)));
    if (buffer.size() == old) end = true;
  }

  size_t read_plain(char* to, size_t size) {
    if (gzip != nullptr) {
      const int n = gzread(gzip, to, static_cast<unsigned>(size));
      if (n < 0) throw Error("gzip", "{}: does not decompress; the file is damaged or cut off", path);
      return static_cast<size_t>(n);
    }
    const size_t n = std::fread(to, 1, size, file);
    if (n < size && std::ferror(file)) throw Error("read", "{}: cannot read{}", path, errno_text());
    return n;
  }

  size_t read_zstd(char* to, size_t size) {
    ZSTD_outBuffer output{to, size, 0};
    while (output.pos < output.size) {
      if (input.pos == input.size) {
        input = {in.data(), std::fread(in.data(), 1, in.size(), file), 0};
        if (input.size == 0) {
          if (frame_left != 0)
            throw Error("zstd", "{}: cut off in the middle of a frame; make the file again", path);
          break;
        }
      }
      frame_left = ZSTD_decompressStream(zstd, &output, &input);
      if (ZSTD_isError(frame_left))
        throw Error("zstd", "{}: does not decompress ({}); the file is damaged, make it again", path,
                    ZSTD_getErrorName(frame_left));
    }
    return output.pos;
  }
};

LineReader::LineReader(const std::filesystem::path& path, int64_t max_line_bytes)
    : state_(std::make_unique<State>()) {
  state_->path = path.string();
  state_->max_line_bytes = max_line_bytes;
  if (path.extension() == ".gz") {
    state_->gzip = gzopen(path.c_str(), "rb");
    if (state_->gzip == nullptr) throw Error("read", "{}: cannot open{}", path.string(), errno_text());
    return;
  }
  state_->file = std::fopen(path.c_str(), "rb");
  if (state_->file == nullptr) throw Error("read", "{}: cannot open{}", path.string(), errno_text());
  if (path.extension() == ".zst") {
    state_->zstd = ZSTD_createDCtx();
    state_->in.resize(ZSTD_DStreamInSize());
  }
}

LineReader::~LineReader() = default;

std::optional<std::string_view> LineReader::next() {
  State& s = *state_;
  for (;;) {
    const size_t at = s.buffer.find('\n', s.scanned);
    if (at != std::string::npos) {
      const std::string_view line(s.buffer.data() + s.begin, at - s.begin);
      s.begin = s.scanned = at + 1;
      return line;
    }
    s.scanned = s.buffer.size();
    if (static_cast<int64_t>(s.scanned - s.begin) > s.max_line_bytes)
      throw Error("read", "{}: got a line of over {} bytes; the file is not JSONL", s.path, s.max_line_bytes);
    if (s.end) break;
    s.fill();
  }
  if (s.begin == s.buffer.size()) return std::nullopt;
  const std::string_view line(s.buffer.data() + s.begin, s.buffer.size() - s.begin);
  s.begin = s.scanned = s.buffer.size();
  return line;
}

}  // namespace tumbler::io
