// SPDX-License-Identifier: Apache-2.0
//
// 128-bit vectors: four inputs side by side, or one row-wise.

#include "kernel.h"

#if LIFEBOAT_BLAKE3_X86
#include <immintrin.h>
#include <string.h>

#include "sse41.h"

#define CHAIN_NAME chain
#define TARGET SSE41
#define ROTATE16 sse41_rotate16
#define ROTATE12 sse41_rotate12
#define ROTATE8 sse41_rotate8
#define ROTATE7 sse41_rotate7
#include "row.h"

#define NAME(suffix) sse41_x4##suffix
#define LANES 4
#define TARGET SSE41
#define V __m128i
#define SET(word) _mm_set1_epi32((int)(word))
#define ADD _mm_add_epi32
#define XOR _mm_xor_si128
#define ROTATE16 sse41_rotate16
#define ROTATE12 sse41_rotate12
#define ROTATE8 sse41_rotate8
#define ROTATE7 sse41_rotate7
#define LOW32 _mm_unpacklo_epi32
#define HIGH32 _mm_unpackhi_epi32
#define LOW64 _mm_unpacklo_epi64
#define HIGH64 _mm_unpackhi_epi64
#define GATHER(rows, i, offset) _mm_loadu_si128((const __m128i *)((rows)[i] + (offset)))
#define SCATTER(v, output) _mm_storeu_si128((__m128i *)(output), v)
#include "lanes.h"

static void hash_batch(const struct batch *batch, uint8_t *output) {
    for (size_t from = 0; from < batch->count;) {
        size_t count = batch->count - from < 4 ? batch->count - from : 4;
        sse41_x4_lanes(batch, from, count, output + from * CHAIN_SIZE);
        from += count;
    }
}

const struct kernel lifeboat_blake3_sse41 = {chain, hash_batch};
#endif
