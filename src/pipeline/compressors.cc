#include "pipeline/compressors.h"

#include <algorithm>
#include <memory>

#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include "base/error.h"

namespace tumbler::pipeline {
namespace {

// In pieces: zlib counts in 32 bits. Only the size is wanted.
size_t gzip_size(std::string_view text) {
  z_stream stream{};
  constexpr int kGzip = 15 + 16;  // largest window, gzip header
  if (deflateInit2(&stream, 9, Z_DEFLATED, kGzip, 9, Z_DEFAULT_STRATEGY) != Z_OK)
    throw Error("gzip", "cannot start the compressor");
  std::string out(size_t{1} << 16, '\0');
  size_t size = 0;
  int code = Z_OK;
  do {
    const std::string_view piece = text.substr(0, size_t{1} << 20);
    text.remove_prefix(piece.size());
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(piece.data()));
    stream.avail_in = static_cast<uInt>(piece.size());
    do {
      stream.next_out = reinterpret_cast<Bytef*>(out.data());
      stream.avail_out = static_cast<uInt>(out.size());
      code = deflate(&stream, text.empty() ? Z_FINISH : Z_NO_FLUSH);
      size += out.size() - stream.avail_out;
    } while (stream.avail_out == 0);
  } while (!text.empty() && (code == Z_OK || code == Z_BUF_ERROR));  // the latter: nothing left to do yet
  deflateEnd(&stream);
  if (code != Z_STREAM_END) throw Error("gzip", "compression failed with code {}", code);
  return size;
}

size_t xz_size(std::string_view text) {
  std::string out(lzma_stream_buffer_bound(text.size()), '\0');
  size_t size = 0;
  const lzma_ret code =
      lzma_easy_buffer_encode(9, LZMA_CHECK_CRC64, nullptr, reinterpret_cast<const uint8_t*>(text.data()),
                              text.size(), reinterpret_cast<uint8_t*>(out.data()), &size, out.size());
  if (code != LZMA_OK) throw Error("xz", "compression failed with code {}", static_cast<int>(code));
  return size;
}

size_t zstd_size(std::string_view text, std::string_view prefix) {
  const std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> context(ZSTD_createCCtx(), ZSTD_freeCCtx);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, 19);
  if (!prefix.empty()) {
    int window_log = 20;  // must reach from the end of the text back to the start of the prefix
    while (window_log < 27 && (size_t{1} << window_log) < text.size() + prefix.size()) ++window_log;
    ZSTD_CCtx_setParameter(context.get(), ZSTD_c_windowLog, window_log);
    ZSTD_CCtx_setParameter(context.get(), ZSTD_c_enableLongDistanceMatching, 1);
    ZSTD_CCtx_refPrefix(context.get(), prefix.data(), prefix.size());
  }
  std::string out(ZSTD_compressBound(text.size()), '\0');
  const size_t size = ZSTD_compress2(context.get(), out.data(), out.size(), text.data(), text.size());
  if (ZSTD_isError(size)) throw Error("zstd", "compression failed: {}", ZSTD_getErrorName(size));
  return size;
}

}  // namespace

std::vector<Compressed> compress_baselines(std::string_view text, std::string_view training_text) {
  if (text.empty()) return {};
  const auto bits = [&](size_t size) {
    return 8.0 * static_cast<double>(size) / static_cast<double>(text.size());
  };
  std::vector<Compressed> results = {{"gzip -9", bits(gzip_size(text))},
                                     {"zstd -19", bits(zstd_size(text, {}))},
                                     {"xz -9", bits(xz_size(text))}};
  // The last part of a longer training text is what zstd can use.
  const size_t most = kLongestWindow - std::min(kLongestWindow, text.size());
  if (training_text.size() > most) training_text.remove_prefix(training_text.size() - most);
  if (!training_text.empty())
    results.push_back(
        {"zstd -19 with the training text as its dictionary", bits(zstd_size(text, training_text))});
  return results;
}

}  // namespace tumbler::pipeline
