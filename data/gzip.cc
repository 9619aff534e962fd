#include <gradus/base/error.h>
#include <gradus/data/gzip.h>
#include <zlib.h>

#include <fstream>
#include <iterator>

namespace gradus {

std::string gunzip(const std::string& what, const unsigned char* data, size_t size, size_t limit) {
  z_stream stream{};
  check(inflateInit2(&stream, 16 + MAX_WBITS) == Z_OK, "{}: zlib cannot be started", what);
  std::string result;
  char buffer[1 << 16];
  stream.next_in = const_cast<unsigned char*>(data);
  stream.avail_in = static_cast<uInt>(size);
  int status = Z_OK;
  while (status == Z_OK && result.size() <= limit) {
    stream.next_out = reinterpret_cast<unsigned char*>(buffer);
    stream.avail_out = sizeof buffer;
    status = inflate(&stream, Z_NO_FLUSH);
    if (status == Z_OK || status == Z_STREAM_END)
      result.append(buffer, sizeof buffer - stream.avail_out);
    if (status == Z_OK && stream.avail_in == 0 && stream.avail_out > 0) break;
  }
  inflateEnd(&stream);
  check(status == Z_STREAM_END, "{}: the gzip data is truncated or damaged after {} bytes", what,
        result.size());
  return result;
}

std::string read_maybe_gzipped(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  check(file.good(), "{}: cannot be opened", path);
  std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  check(!file.bad(), "{}: cannot be read", path);
  const bool gzipped = bytes.size() > 2 && bytes[0] == '\x1f' && bytes[1] == '\x8b';
  if (!gzipped) return bytes;
  return gunzip(path, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
}

}  // namespace gradus
