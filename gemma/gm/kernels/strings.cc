// Where the strings of a GGUF array lie: each is a length in eight bytes, then its text.

#include <cstdint>
#include <cstring>

// Writes where each of `count` strings begins and ends. Returns how many there are: fewer
// if one does not lie wholly within the `size` bytes of `data`.
extern "C" __attribute__((visibility("default"))) int64_t gemma_find_strings(
    const uint8_t* data, int64_t size, int64_t count, int64_t* begins, int64_t* ends) {
  constexpr int64_t kLengthBytes = 8;
  int64_t place = 0;
  for (int64_t i = 0; i < count; ++i) {
    uint64_t length;
    if (size - place < kLengthBytes) return i;
    std::memcpy(&length, data + place, kLengthBytes);  // files are little-endian
    place += kLengthBytes;
    if (length > static_cast<uint64_t>(size - place)) return i;
    begins[i] = place;
    place += static_cast<int64_t>(length);
    ends[i] = place;
  }
  return count;
}
