// Runs of strings: a vocabulary has 262,144, which Python would take one by one.

#include <cstdint>
#include <cstring>

// Finds the strings of a GGUF array, each a length in eight bytes and then its text: writes
// where each of `count` begins and ends. Returns how many there are: fewer if one does not
// lie wholly within the `size` bytes of `data`.
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

// Copies text i from `begins[i]:ends[i]` of `data` to `out`, from `places[i]` on.
extern "C" __attribute__((visibility("default"))) void gemma_copy_strings(
    const uint8_t* data, int64_t count, const int64_t* begins, const int64_t* ends,
    const int64_t* places, uint8_t* out) {
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(out + places[i], data + begins[i], ends[i] - begins[i]);
  }
}
