// Runs the inner loops of one instruction set on fixed numbers; prints a digest of the bits
// that each found, one a line. Includes what the library is compiled from.

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "routines.inc"

namespace {

using namespace gemma;

const Routines& routines = GEMMA_TARGET::kRoutines;

// FNV-1a; NaN is NaN whatever its bits.
class Digest {
 public:
  explicit Digest(std::string name) : name_(std::move(name)) {}
  ~Digest() { std::printf("%s %016llx\n", name_.c_str(), static_cast<unsigned long long>(hash_)); }

  void Add(const void* p, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      hash_ = (hash_ ^ static_cast<const uint8_t*>(p)[i]) * 0x100000001B3u;
    }
  }
  void Add(float x) {
    if (x != x) x = -1.0f;
    Add(&x, sizeof x);
  }
  void Add(const std::vector<float>& numbers) {
    for (float x : numbers) Add(x);
  }

 private:
  std::string name_;
  uint64_t hash_ = 0xCBF29CE484222325u;
};

std::mt19937 random_bits(1);

std::vector<float> Numbers(int64_t count) {
  std::vector<float> out(count);
  for (float& x : out) x = static_cast<float>(static_cast<int>(random_bits() % 4001) - 2000) / 997;
  return out;
}

// Halves of about 0.01.
std::vector<Half> Halves(int64_t count) {
  std::vector<Half> out(count);
  for (Half& x : out) x.bits = static_cast<uint16_t>(0x2000 | (random_bits() & 0x87FF));
  return out;
}

void AllHalves() {
  Digest digest("halves");
  using namespace GEMMA_TARGET;
  for (int first = 0; first < 65536; first += 16) {
    Half halves[16];
    for (int i = 0; i < 16; ++i) halves[i].bits = static_cast<uint16_t>(first + i);
    std::vector<float> wide(16);
    Store(wide.data(), Load(halves));
    digest.Add(wide);
  }
}

std::vector<uint8_t> RandomWeight(const Weight& w) {
  std::vector<uint8_t> bytes(w.tiles * w.layout.bytes);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random_bits());
  const bool has_supers = w.layout.end > w.layout.supers;
  const int64_t begin = has_supers ? w.layout.supers : w.layout.scales;
  for (int64_t tile = 0; tile < w.tiles; ++tile) {
    const std::vector<Half> scales = Halves((w.layout.end - begin) / 2);
    std::memcpy(bytes.data() + tile * w.layout.bytes + begin, scales.data(), 2 * scales.size());
  }
  return bytes;
}

void Products(const Kind& kind) {
  constexpr int64_t kOutputs = 33, kColumns = 256, kStride = 48;
  Weight w(kind, nullptr, kOutputs, kColumns / kGroup);
  const std::vector<uint8_t> bytes = RandomWeight(w);
  w.bytes = bytes.data();
  Digest digest("product " + std::to_string(kind.bits) + " " +
                std::to_string(static_cast<int>(kind.scale)) + " " +
                std::to_string(static_cast<int>(kind.code)));
  for (int64_t rows : {1, 2, 3, 4, 7, 8, 17}) {
    const std::vector<float> x = Numbers(rows * kColumns);
    Activations activations;
    activations.Resize(rows, kColumns);
    routines.quantize(x.data(), kColumns, 0, rows, activations);
    digest.Add(activations.values.data(), activations.values.size());
    digest.Add(activations.scales);
    std::vector<int32_t> starts;
    MakeStarts(activations, kind, starts);
    std::vector<float> out(rows * kStride, 0.0f);
    routines.find_kind(kind).product(w, activations, starts.data(), 0, w.tiles, 0, rows,
                                     out.data(), kStride);
    digest.Add(out);
  }
  std::vector<uint8_t> outline(LayoutOf(kScreenKind.bits, kScreenKind.scale, w.groups).bytes);
  std::vector<float> offsets(kColumns);
  for (int64_t i = 0; i < kColumns; ++i) offsets[i] = Offset(i);
  routines.find_kind(kind).outline(w, offsets.data(), 0, outline.data());
  digest.Add(outline.data(), outline.size());
}

void FloatProducts() {
  Digest digest("float products");
  const std::vector<Half> w = Halves(21 * 70);
  for (int64_t rows : {1, 2, 3, 5, 9}) {
    const std::vector<float> x = Numbers(rows * 70);
    std::vector<float> out(rows * 21);
    for (Number number : {Number::kHalf, Number::kBrain}) {
      FloatProduct product{};
      product.number = number;
      product.x = x.data();
      product.weight = w.data();
      product.out = out.data();
      product.rows = rows;
      product.outputs = 21;
      product.columns = 70;
      routines.multiply_floats(product, 0, 21);
      digest.Add(out);
    }
  }
}

void AttentionOf(int64_t rows, float softcap) {
  constexpr int64_t kHead = 80, kCount = 100;
  Digest digest("attention " + std::to_string(rows) + (softcap > 0 ? " capped" : ""));
  const AttentionConfig config = {Number::kHalf, kHead, 60, softcap, 1e-6f};
  const std::vector<float> q = Numbers(rows * kHead);
  const std::vector<Half> k = Halves(kCount * kHead), v = Halves(kCount * kHead);
  std::vector<float> positions(rows), out(rows * kHead), peak(rows), mass(rows);
  for (int64_t r = 0; r < rows; ++r) positions[r] = static_cast<float>(70 + r / 2);
  const Queries queries = {q.data(), positions.data(), positions.data(), rows};
  const Keys keys = {k.data(), v.data(), 0, kCount};
  if (rows < kFewRows) {
    Partial found = {peak.data(), mass.data(), out.data()};
    routines.attend_few(queries, keys, config, found);
  } else {
    std::vector<float*> outs;
    for (int64_t r = 0; r < rows; ++r) outs.push_back(out.data() + r * kHead);
    routines.attend_many(queries, &keys, 1, config, outs.data());
  }
  digest.Add(out);
  digest.Add(mass);
}

void Norms() {
  Digest digest("norms");
  for (int64_t columns : {1, 16, 45, 640}) {
    const std::vector<float> x = Numbers(columns), gain = Numbers(columns);
    std::vector<float> out(columns);
    routines.rms_norm(x.data(), gain.data(), x.data(), 1e-6f, columns, out.data());
    digest.Add(out);
  }
}

}  // namespace

int main() {
  AllHalves();
  using S = ScaleKind;
  constexpr Code kInteger = Code::kInteger;
  for (const Kind& kind :
       {Kind{8, S::kHalf, 128, kInteger}, Kind{5, S::kHalf, 16, kInteger},
        Kind{4, S::kHalf, 8, kInteger}, Kind{4, S::kHalf, 128, Code::kNormal},
        Kind{4, S::kHalfMinimum, 0, kInteger}, Kind{5, S::kHalfMinimum, 0, kInteger},
        Kind{4, S::kSuper, 0, kInteger}, Kind{5, S::kSuper, 0, kInteger},
        Kind{6, S::kSuper16, 32, kInteger}}) {
    Products(kind);
  }
  FloatProducts();
  for (int64_t rows : {1, 2, 4, 7, 40}) {
    AttentionOf(rows, 0.0f);
    AttentionOf(rows, 5.0f);
  }
  Norms();
}
