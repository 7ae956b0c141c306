// SPDX-License-Identifier: Apache-2.0
//
// AVX-512 with the VL extension: sixteen inputs side by side, or eight, or four, or one row-wise; a rotation is one
// instruction and there are registers for state and message together.

#include "kernel.h"

#if LIFEBOAT_BLAKE3_X86
#include <immintrin.h>
#include <string.h>

#define AVX512 __attribute__((target("avx512f,avx512vl")))
#define AVX512_INLINE __attribute__((always_inline)) AVX512 static inline

#define CHAIN_NAME chain
#define TARGET AVX512
#define ROTATE16(v) _mm_ror_epi32(v, 16)
#define ROTATE12(v) _mm_ror_epi32(v, 12)
#define ROTATE8(v) _mm_ror_epi32(v, 8)
#define ROTATE7(v) _mm_ror_epi32(v, 7)
#include "row.h"

#define NAME(suffix) avx512_x4##suffix
#define LANES 4
#define TARGET AVX512
#define V __m128i
#define SET(word) _mm_set1_epi32((int)(word))
#define ADD _mm_add_epi32
#define XOR _mm_xor_si128
#define ROTATE16(v) _mm_ror_epi32(v, 16)
#define ROTATE12(v) _mm_ror_epi32(v, 12)
#define ROTATE8(v) _mm_ror_epi32(v, 8)
#define ROTATE7(v) _mm_ror_epi32(v, 7)
#define LOW32 _mm_unpacklo_epi32
#define HIGH32 _mm_unpackhi_epi32
#define LOW64 _mm_unpacklo_epi64
#define HIGH64 _mm_unpackhi_epi64
#define GATHER(rows, i, offset) _mm_loadu_si128((const __m128i *)((rows)[i] + (offset)))
#define SCATTER(v, output) _mm_storeu_si128((__m128i *)(output), v)
#include "lanes.h"

AVX512_INLINE __m256i gather8(const uint8_t *const *rows, size_t i, size_t offset) {
    return _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(rows[i] + offset))),
        _mm_loadu_si128((const __m128i *)(rows[4 + i] + offset)), 1);
}

AVX512_INLINE void scatter8(__m256i v, uint8_t *output) {
    _mm_storeu_si128((__m128i *)output, _mm256_castsi256_si128(v));
    _mm_storeu_si128((__m128i *)(output + 4 * CHAIN_SIZE), _mm256_extracti128_si256(v, 1));
}

#define NAME(suffix) avx512_x8##suffix
#define LANES 8
#define TARGET AVX512
#define V __m256i
#define SET(word) _mm256_set1_epi32((int)(word))
#define ADD _mm256_add_epi32
#define XOR _mm256_xor_si256
#define ROTATE16(v) _mm256_ror_epi32(v, 16)
#define ROTATE12(v) _mm256_ror_epi32(v, 12)
#define ROTATE8(v) _mm256_ror_epi32(v, 8)
#define ROTATE7(v) _mm256_ror_epi32(v, 7)
#define LOW32 _mm256_unpacklo_epi32
#define HIGH32 _mm256_unpackhi_epi32
#define LOW64 _mm256_unpacklo_epi64
#define HIGH64 _mm256_unpackhi_epi64
#define GATHER gather8
#define SCATTER scatter8
#include "lanes.h"

AVX512_INLINE __m512i gather16(const uint8_t *const *rows, size_t i, size_t offset) {
    __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(rows[i] + offset)));
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(rows[4 + i] + offset)), 1);
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(rows[8 + i] + offset)), 2);
    return _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(rows[12 + i] + offset)), 3);
}

AVX512_INLINE void scatter16(__m512i v, uint8_t *output) {
    _mm_storeu_si128((__m128i *)output, _mm512_castsi512_si128(v));
    _mm_storeu_si128((__m128i *)(output + 4 * CHAIN_SIZE), _mm512_extracti32x4_epi32(v, 1));
    _mm_storeu_si128((__m128i *)(output + 8 * CHAIN_SIZE), _mm512_extracti32x4_epi32(v, 2));
    _mm_storeu_si128((__m128i *)(output + 12 * CHAIN_SIZE), _mm512_extracti32x4_epi32(v, 3));
}

#define NAME(suffix) avx512_x16##suffix
#define LANES 16
#define TARGET AVX512
#define V __m512i
#define SET(word) _mm512_set1_epi32((int)(word))
#define ADD _mm512_add_epi32
#define XOR _mm512_xor_si512
#define ROTATE16(v) _mm512_ror_epi32(v, 16)
#define ROTATE12(v) _mm512_ror_epi32(v, 12)
#define ROTATE8(v) _mm512_ror_epi32(v, 8)
#define ROTATE7(v) _mm512_ror_epi32(v, 7)
#define LOW32 _mm512_unpacklo_epi32
#define HIGH32 _mm512_unpackhi_epi32
#define LOW64 _mm512_unpacklo_epi64
#define HIGH64 _mm512_unpackhi_epi64
#define GATHER gather16
#define SCATTER scatter16
#include "lanes.h"

static void hash_batch(const struct batch *batch, uint8_t *output) {
    for (size_t from = 0; from < batch->count;) {
        size_t count = batch->count - from;
        if (count > 16) count = 16;
        uint8_t *target = output + from * CHAIN_SIZE;
        if (count > 8) {
            avx512_x16_lanes(batch, from, count, target);
        } else if (count > 4) {
            avx512_x8_lanes(batch, from, count, target);
        } else {
            avx512_x4_lanes(batch, from, count, target);
        }
        from += count;
    }
}

const struct kernel lifeboat_blake3_avx512 = {chain, hash_batch};
#endif
