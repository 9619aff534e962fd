#include <gradus/base/error.h>
#include <gradus/data/gzip.h>
#include <zlib.h>

#include <algorithm>
#include <limits>

namespace gradus {

namespace {

constexpr unsigned kPiece = 1 << 16;

struct Inflater {
  explicit Inflater(const std::string& what) {
    check(inflateInit2(&stream, 16 + MAX_WBITS) == Z_OK, "{}: zlib cannot be started", what);
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  ~Inflater() { inflateEnd(&stream); }
  z_stream stream{};
};

}  // namespace

std::string gunzip(const std::string& what, const unsigned char* data, size_t size, size_t limit) {
  check(size <= std::numeric_limits<uInt>::max(), "{}: {} bytes are too many to unpack at once",
        what, size);
  Inflater inflater(what);
  z_stream& stream = inflater.stream;
  stream.next_in = const_cast<unsigned char*>(data);
  stream.avail_in = static_cast<uInt>(size);
  std::string result;
  for (int status = Z_OK; status == Z_OK;) {
    char buffer[kPiece];
    stream.next_out = reinterpret_cast<unsigned char*>(buffer);
    stream.avail_out = kPiece;
    status = inflate(&stream, Z_NO_FLUSH);
    check(status == Z_OK || status == Z_STREAM_END,
          "{}: the gzip data is truncated or damaged after {} bytes", what, result.size());
    result.append(buffer, kPiece - stream.avail_out);
    check(result.size() <= limit, "{}: unpacks to more than {} bytes", what, limit);
  }
  return result;
}

MaybeGzipped::MaybeGzipped(const std::string& path)
    : path_(path), file_(gzopen(path.c_str(), "rb")) {
  check(file_ != nullptr, "{}: cannot be opened", path);
}

MaybeGzipped::~MaybeGzipped() { gzclose(static_cast<gzFile>(file_)); }

std::string MaybeGzipped::read(uint64_t count) {
  auto* const file = static_cast<gzFile>(file_);
  std::string bytes;
  while (bytes.size() < count) {
    const size_t before = bytes.size();
    bytes.resize(before + std::min<uint64_t>(kPiece, count - before));
    const int got =
        gzread(file, bytes.data() + before, static_cast<unsigned>(bytes.size() - before));
    int status = Z_OK;
    const char* const failure = gzerror(file, &status);
    check(status != Z_ERRNO, "{}: cannot be read: {}", path_, failure);
    check(got >= 0 && status == Z_OK,
          "{}: the gzip data is truncated or damaged after {} bytes: {}", path_, gztell(file),
          failure);
    const bool all = before + static_cast<size_t>(got) == bytes.size();
    bytes.resize(before + static_cast<size_t>(got));
    if (!all) break;
  }
  return bytes;
}

}  // namespace gradus
