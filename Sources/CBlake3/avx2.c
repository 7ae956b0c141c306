// SPDX-License-Identifier: Apache-2.0
//
// 256-bit vectors: eight inputs side by side; fewer, and single ones, as with SSE4.1.

#include "kernel.h"

#if LIFEBOAT_BLAKE3_X86
#include <immintrin.h>
#include <string.h>

#define AVX2 __attribute__((target("avx2")))
#define AVX2_INLINE __attribute__((always_inline)) AVX2 static inline

AVX2_INLINE __m256i rotate16(__m256i v) {
    return _mm256_shuffle_epi8(
        v, _mm256_broadcastsi128_si256(_mm_set_epi8(13, 12, 15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2)));
}

AVX2_INLINE __m256i rotate12(__m256i v) {
    return _mm256_or_si256(_mm256_srli_epi32(v, 12), _mm256_slli_epi32(v, 20));
}

AVX2_INLINE __m256i rotate8(__m256i v) {
    return _mm256_shuffle_epi8(
        v, _mm256_broadcastsi128_si256(_mm_set_epi8(12, 15, 14, 13, 8, 11, 10, 9, 4, 7, 6, 5, 0, 3, 2, 1)));
}

AVX2_INLINE __m256i rotate7(__m256i v) {
    return _mm256_or_si256(_mm256_srli_epi32(v, 7), _mm256_slli_epi32(v, 25));
}

AVX2_INLINE __m256i gather(const uint8_t *const *rows, size_t i, size_t offset) {
    return _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(rows[i] + offset))),
        _mm_loadu_si128((const __m128i *)(rows[4 + i] + offset)), 1);
}

AVX2_INLINE void scatter(__m256i v, uint8_t *output) {
    _mm_storeu_si128((__m128i *)output, _mm256_castsi256_si128(v));
    _mm_storeu_si128((__m128i *)(output + 4 * CHAIN_SIZE), _mm256_extracti128_si256(v, 1));
}

#define NAME(suffix) avx2_x8##suffix
#define LANES 8
#define TARGET AVX2
#define V __m256i
#define SET(word) _mm256_set1_epi32((int)(word))
#define ADD _mm256_add_epi32
#define XOR _mm256_xor_si256
#define ROTATE16 rotate16
#define ROTATE12 rotate12
#define ROTATE8 rotate8
#define ROTATE7 rotate7
#define LOW32 _mm256_unpacklo_epi32
#define HIGH32 _mm256_unpackhi_epi32
#define LOW64 _mm256_unpacklo_epi64
#define HIGH64 _mm256_unpackhi_epi64
#define GATHER gather
#define SCATTER scatter
#include "lanes.h"

static void hash_batch(const struct batch *batch, uint8_t *output) {
    size_t from = 0;
    while (batch->count - from > 4) {
        size_t count = batch->count - from < 8 ? batch->count - from : 8;
        avx2_x8_lanes(batch, from, count, output + from * CHAIN_SIZE);
        from += count;
    }
    if (from == batch->count) return;
    struct batch rest = *batch;
    rest.input += from * batch->stride;
    rest.counter += from * batch->counter_step;
    rest.count -= from;
    lifeboat_blake3_sse41.batch(&rest, output + from * CHAIN_SIZE);
}

static void chain(
    uint32_t value[8], const uint8_t *input, size_t blocks, uint32_t length, uint64_t counter, uint32_t flags,
    uint32_t first_flags) {
    lifeboat_blake3_sse41.chain(value, input, blocks, length, counter, flags, first_flags);
}

const struct kernel lifeboat_blake3_avx2 = {chain, hash_batch};
#endif
