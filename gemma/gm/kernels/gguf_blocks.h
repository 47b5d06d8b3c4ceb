// The blocks of GGUF files: how a group of 32 columns of a row is decoded.
//
// For each type: one byte a column and a few bytes of scales, `scale * (q - zero) - minimum`.
// ckpts/_gguf_blocks.py has the same in numpy. Bytes are in the order of memory, and little
// comes first, in files as in the processors that this is for.
//
// Reference: the block structures of ggml (ggml-common.h).
#pragma once

#include <cstdint>
#include <cstring>

#include "weight.h"

namespace gemma {

constexpr int kWords = kGroup / 8;
constexpr uint64_t kEachByte = 0x0101010101010101;

using Columns = uint64_t[kWords];  // a byte a column
using Numbers = uint8_t[4];        // one or two scales; a type that needs less uses less

inline uint64_t LoadWord(const uint8_t* p) {
  uint64_t word;
  std::memcpy(&word, p, 8);
  return word;
}

// Bits [from, from + count) of each byte.
inline uint64_t Bits(uint64_t word, int from, int count) {
  return (word >> from) & (kEachByte * ((1 << count) - 1));
}

// 0x10 in byte i for bit i.
inline uint64_t SpreadToBit4(uint8_t bits) {
  const uint64_t one_each = (bits * kEachByte) & 0x8040201008040201;
  return ((one_each + 0x7F * kEachByte) >> 3) & (0x10 * kEachByte);  // no byte carries
}

// 16 bytes: the low nibbles are the first columns, the high ones the last.
inline void SplitNibbles(const uint8_t* nibbles, Columns& q) {
  for (int i = 0; i < 4; ++i) q[i] = Bits(LoadWord(nibbles + i % 2 * 8), i / 2 * 4, 4);
}

inline void AddBit4(const uint8_t* bits, Columns& q) {
  for (int i = 0; i < kWords; ++i) q[i] |= SpreadToBit4(bits[i]);
}

// A float16 scale, and what is added in the file but subtracted by us: a float16.
inline void NegatedMinimum(const uint8_t* block, Numbers& scales) {
  std::memcpy(scales, block, 4);
  scales[3] ^= 0x80;  // its sign
}

// Scale and minimum of group g, of 6 bits each, from 12 bytes: the first four hold scales
// 0-3 and, in their two high bits, the top of scales 4-7; the next four hold the minima in
// the same way; the last four hold the low nibbles of scales and minima 4-7.
inline void SixBits(const uint8_t* packed, int g, Numbers& scales) {
  const uint8_t scale = packed[g % 4], minimum = packed[4 + g % 4];
  if (g < 4) {
    scales[0] = scale & 63;
    scales[1] = minimum & 63;
  } else {
    const uint8_t low = packed[4 + g];
    scales[0] = (low & 15) | (scale >> 6 << 4);
    scales[1] = (low >> 4) | (minimum >> 6 << 4);
  }
}

// Each type of block: its number in GGUF files, what it becomes, its size, and how group g
// of one is decoded. `Supers` gives the float16 scales of the scales and of the minima.

struct Q4_0 {
  static constexpr int kType = 2, kBits = 4, kGroups = 1, kBytes = 18;
  static constexpr ScaleKind kScale = ScaleKind::kHalf;
  static void Decode(const uint8_t* block, int, Columns& q, Numbers& scales) {
    std::memcpy(scales, block, 2);
    SplitNibbles(block + 2, q);
  }
};

struct Q4_1 {
  static constexpr int kType = 3, kBits = 4, kGroups = 1, kBytes = 20;
  static constexpr ScaleKind kScale = ScaleKind::kHalfMinimum;
  static void Decode(const uint8_t* block, int, Columns& q, Numbers& scales) {
    NegatedMinimum(block, scales);
    SplitNibbles(block + 4, q);
  }
};

struct Q5_0 {
  static constexpr int kType = 6, kBits = 5, kGroups = 1, kBytes = 22;
  static constexpr ScaleKind kScale = ScaleKind::kHalf;
  static void Decode(const uint8_t* block, int, Columns& q, Numbers& scales) {
    std::memcpy(scales, block, 2);
    SplitNibbles(block + 6, q);
    AddBit4(block + 2, q);
  }
};

struct Q5_1 {
  static constexpr int kType = 7, kBits = 5, kGroups = 1, kBytes = 24;
  static constexpr ScaleKind kScale = ScaleKind::kHalfMinimum;
  static void Decode(const uint8_t* block, int, Columns& q, Numbers& scales) {
    NegatedMinimum(block, scales);
    SplitNibbles(block + 8, q);
    AddBit4(block + 4, q);
  }
};

struct Q8_0 {
  static constexpr int kType = 8, kBits = 8, kGroups = 1, kBytes = 34;
  static constexpr ScaleKind kScale = ScaleKind::kHalf;
  static void Decode(const uint8_t* block, int, Columns& q, Numbers& scales) {
    std::memcpy(scales, block, 2);
    for (int i = 0; i < kWords; ++i) {
      q[i] = LoadWord(block + 2 + 8 * i) ^ (0x80 * kEachByte);  // int8 + 128
    }
  }
};

struct Q4_K {
  static constexpr int kType = 12, kBits = 4, kGroups = 8, kBytes = 144;
  static constexpr ScaleKind kScale = ScaleKind::kSuper;
  static void Decode(const uint8_t* block, int g, Columns& q, Numbers& scales) {
    SixBits(block + 4, g, scales);
    // Two groups share 32 bytes: the first has the low nibbles.
    const uint8_t* nibbles = block + 16 + g / 2 * 32;
    for (int i = 0; i < kWords; ++i) q[i] = Bits(LoadWord(nibbles + 8 * i), g % 2 * 4, 4);
  }
  static void Supers(const uint8_t* block, Numbers& supers) {
    std::memcpy(supers, block, 4);
  }
};

struct Q5_K {
  static constexpr int kType = 13, kBits = 5, kGroups = 8, kBytes = 176;
  static constexpr ScaleKind kScale = ScaleKind::kSuper;
  static void Decode(const uint8_t* block, int g, Columns& q, Numbers& scales) {
    SixBits(block + 4, g, scales);
    // Bit g of byte c belongs to column c of group g.
    const uint8_t *high = block + 16, *nibbles = block + 48 + g / 2 * 32;
    for (int i = 0; i < kWords; ++i) {
      q[i] = Bits(LoadWord(nibbles + 8 * i), g % 2 * 4, 4) |
             Bits(LoadWord(high + 8 * i), g, 1) << 4;
    }
  }
  static void Supers(const uint8_t* block, Numbers& supers) {
    std::memcpy(supers, block, 4);
  }
};

struct Q6_K {
  static constexpr int kType = 14, kBits = 6, kGroups = 8, kBytes = 210;
  static constexpr ScaleKind kScale = ScaleKind::kSuper16;
  static void Decode(const uint8_t* block, int g, Columns& q, Numbers& scales) {
    std::memcpy(scales, block + 192 + 2 * g, 2);
    // Each half of a block has four groups in 64 bytes of nibbles: two in the low ones, two
    // in the high ones. Group i of a half has bits 2i and 2i+1 of 32 bytes.
    const int half = g / 4, i = g % 4;
    const uint8_t* nibbles = block + 64 * half + i % 2 * 32;
    const uint8_t* high = block + 128 + 32 * half;
    for (int w = 0; w < kWords; ++w) {
      q[w] = Bits(LoadWord(nibbles + 8 * w), i / 2 * 4, 4) |
             Bits(LoadWord(high + 8 * w), 2 * i, 2) << 4;
    }
  }
  static void Supers(const uint8_t* block, Numbers& supers) {
    std::memcpy(supers, block + 208, 2);  // and no minimum
  }
};

}  // namespace gemma
