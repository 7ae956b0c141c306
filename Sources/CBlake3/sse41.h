// SPDX-License-Identifier: Apache-2.0
//
// Rotations to the right of 32-bit lanes where there is no instruction for it.
#pragma once

#include <immintrin.h>

#define SSE41 __attribute__((target("sse4.1,ssse3")))
#define SSE41_INLINE __attribute__((always_inline)) SSE41 static inline

SSE41_INLINE __m128i sse41_rotate16(__m128i v) {
    return _mm_shuffle_epi8(v, _mm_set_epi8(13, 12, 15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2));
}

SSE41_INLINE __m128i sse41_rotate12(__m128i v) {
    return _mm_or_si128(_mm_srli_epi32(v, 12), _mm_slli_epi32(v, 20));
}

SSE41_INLINE __m128i sse41_rotate8(__m128i v) {
    return _mm_shuffle_epi8(v, _mm_set_epi8(12, 15, 14, 13, 8, 11, 10, 9, 4, 7, 6, 5, 0, 3, 2, 1));
}

SSE41_INLINE __m128i sse41_rotate7(__m128i v) {
    return _mm_or_si128(_mm_srli_epi32(v, 7), _mm_slli_epi32(v, 25));
}
