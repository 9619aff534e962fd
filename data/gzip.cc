#include <gradus/base/error.h>
#include <gradus/base/file.h>
#include <gradus/data/gzip.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <utility>

namespace gradus {

namespace {

constexpr size_t kPiece = size_t{1} << 16;
constexpr unsigned char kMagic[] = {0x1f, 0x8b};

}  // namespace

/// The input, which `source` brings piece by piece, and zlib's stream, which takes it from there.
struct MaybeGzipped::State {
  using Source = std::function<size_t(char*, size_t)>;  // how many bytes; 0 at the end

  State(std::string name, Source from) : what(std::move(name)), source(std::move(from)) {
    stream.next_in = input;
    need(sizeof kMagic);
    gzipped = at_magic();
    check(!gzipped || inflateInit2(&stream, 16 + MAX_WBITS) == Z_OK, "{}: zlib cannot be started",
          what);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (gzipped) inflateEnd(&stream);
  }

  bool at_magic() const {
    return stream.avail_in >= sizeof kMagic &&
           std::memcmp(stream.next_in, kMagic, sizeof kMagic) == 0;
  }

  /// Whether there are `count` bytes of input, a few.
  bool need(size_t count) {
    while (stream.avail_in < count) {
      std::memmove(input, stream.next_in, stream.avail_in);
      stream.next_in = input;
      const size_t got =
          source(reinterpret_cast<char*>(input) + stream.avail_in, sizeof input - stream.avail_in);
      if (got == 0) return false;
      stream.avail_in += static_cast<uInt>(got);
    }
    return true;
  }

  /// Up to `count` bytes to `to`; 0 at the end alone.
  size_t read(char* to, size_t count) {
    if (!gzipped) {
      if (!need(1)) return 0;
      count = std::min<size_t>(count, stream.avail_in);
      std::memcpy(to, stream.next_in, count);
      stream.next_in += count;
      stream.avail_in -= static_cast<uInt>(count);
      return count;
    }
    stream.next_out = reinterpret_cast<unsigned char*>(to);
    stream.avail_out = static_cast<uInt>(count);
    while (!over && stream.avail_out == count) {
      const bool more = need(1);
      const int status = inflate(&stream, Z_NO_FLUSH);
      check(status == Z_STREAM_END || (status == Z_OK && more),
            "{}: the gzip data is truncated or damaged after {} bytes", what,
            before + stream.total_out);
      if (status == Z_STREAM_END) next_member();
    }
    return count - stream.avail_out;
  }

  void next_member() {
    before += stream.total_out;
    need(sizeof kMagic);
    if (at_magic()) {
      inflateReset(&stream);
      return;
    }
    over = true;
    for (; need(1); ++stream.next_in, --stream.avail_in)
      check(*stream.next_in == 0, "{}: there is more behind the gzip data of {} bytes", what,
            before);
  }

  std::string what;
  Source source;
  z_stream stream{};
  unsigned char input[kPiece];
  uint64_t before = 0;  // bytes of the members that are over
  bool gzipped = false, over = false;
};

MaybeGzipped::MaybeGzipped(const std::string& path)
    : state_(std::make_unique<State>(
          path, [file = std::make_shared<FileReader>(path)](char* to, size_t count) {
            return file->read(to, count);
          })) {}

MaybeGzipped::MaybeGzipped(std::string what, const unsigned char* data, size_t size)
    : state_(std::make_unique<State>(std::move(what), [data, size](char* to, size_t count) mutable {
        count = std::min(count, size);
        std::memcpy(to, data, count);
        data += count;
        size -= count;
        return count;
      })) {}

MaybeGzipped::~MaybeGzipped() = default;

std::string MaybeGzipped::read(uint64_t count) {
  std::string bytes;
  for (size_t got = 1; got > 0 && bytes.size() < count;) {
    const size_t before = bytes.size();
    bytes.resize(before + std::min<uint64_t>(kPiece, count - before));
    got = state_->read(bytes.data() + before, bytes.size() - before);
    bytes.resize(before + got);
  }
  return bytes;
}

}  // namespace gradus
