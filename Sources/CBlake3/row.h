// SPDX-License-Identifier: Apache-2.0
//
// Template of `chain` for one input: the 4 x 4 state in four 128-bit rows, so that a vector operation does the four
// columns (or diagonals) of a round. Needs CHAIN_NAME, TARGET and the rotations ROTATE16, ROTATE12, ROTATE8, ROTATE7.
//
// This is a chain of dependent operations, so what counts is its length. The row that is ready last in a half round is
// b; to line up the diagonals the other three rows are turned around it while b is still being computed, and the
// message words of the diagonals are kept in that turned order:
//   w = 0 2 4 6,  x = 1 3 5 7 for the columns,  y = 14 8 10 12,  z = 15 9 11 13 for the diagonals.

#define SHUFFLE(V, A, B, C, D) _mm_shuffle_epi32(V, _MM_SHUFFLE(D, C, B, A))
#define PAIRS(V, W, A, B, C, D)                                                                                        \
    _mm_castps_si128(_mm_shuffle_ps(_mm_castsi128_ps(V), _mm_castsi128_ps(W), _MM_SHUFFLE(D, C, B, A)))

#define HALF(M, ROTATE_D, ROTATE_B)                                                                                    \
    a = _mm_add_epi32(_mm_add_epi32(a, M), b);                                                                         \
    d = ROTATE_D(_mm_xor_si128(d, a));                                                                                 \
    c = _mm_add_epi32(c, d);                                                                                           \
    b = ROTATE_B(_mm_xor_si128(b, c));

#define ROUND                                                                                                          \
    HALF(w, ROTATE16, ROTATE12)                                                                                        \
    HALF(x, ROTATE8, ROTATE7)                                                                                          \
    a = SHUFFLE(a, 3, 0, 1, 2);                                                                                        \
    d = SHUFFLE(d, 2, 3, 0, 1);                                                                                        \
    c = SHUFFLE(c, 1, 2, 3, 0);                                                                                        \
    HALF(y, ROTATE16, ROTATE12)                                                                                        \
    HALF(z, ROTATE8, ROTATE7)                                                                                          \
    a = SHUFFLE(a, 1, 2, 3, 0);                                                                                        \
    d = SHUFFLE(d, 2, 3, 0, 1);                                                                                        \
    c = SHUFFLE(c, 3, 0, 1, 2);

/// The next round's words from this round's. The comments name the words of this round.
#define PERMUTE                                                                                                        \
    {                                                                                                                  \
        __m128i w2 = PAIRS(w, x, 1, 2, 1, 3);                                 /* 2 4 3 7 */                            \
        __m128i x2 = PAIRS(w, _mm_blend_epi16(y, z, 0xC0), 3, 0, 2, 3);       /* 6 0 10 13 */                          \
        __m128i y2 = PAIRS(z, _mm_blend_epi16(x, y, 0xC0), 0, 1, 0, 3);       /* 15 9 1 12 */                          \
        __m128i z2 = PAIRS(y, _mm_unpackhi_epi32(z, x), 1, 0, 0, 1);          /* 8 14 11 5 */                          \
        w = SHUFFLE(w2, 0, 2, 3, 1);                                          /* 2 3 7 4 */                            \
        x = SHUFFLE(x2, 0, 2, 1, 3);                                          /* 6 10 0 13 */                          \
        y = SHUFFLE(y2, 0, 2, 3, 1);                                          /* 15 1 12 9 */                          \
        z = SHUFFLE(z2, 0, 2, 3, 1);                                          /* 8 11 5 14 */                          \
    }

TARGET static void CHAIN_NAME(
    uint32_t value[8], const uint8_t *input, size_t blocks, uint32_t length, uint64_t counter, uint32_t flags,
    uint32_t first_flags) {
    static const uint32_t initial[8] = INITIAL_VALUE;
    __m128i a = _mm_loadu_si128((const __m128i *)value), b = _mm_loadu_si128((const __m128i *)(value + 4));
    const __m128i initial_c = _mm_loadu_si128((const __m128i *)initial);
    __m128i d_next = _mm_set_epi32(
        (int)(flags | first_flags), (int)length, (int)(uint32_t)(counter >> 32), (int)(uint32_t)counter);
    for (; blocks > 0; blocks--, input += BLOCK_SIZE) {
        const __m128i *block = (const __m128i *)input;
        __m128i l0 = _mm_loadu_si128(block), l1 = _mm_loadu_si128(block + 1);
        __m128i l2 = _mm_loadu_si128(block + 2), l3 = _mm_loadu_si128(block + 3);
        __m128i w = PAIRS(l0, l1, 0, 2, 0, 2), x = PAIRS(l0, l1, 1, 3, 1, 3);
        __m128i y = PAIRS(l2, l3, 0, 2, 0, 2), z = PAIRS(l2, l3, 1, 3, 1, 3);
        y = SHUFFLE(y, 3, 0, 1, 2);
        z = SHUFFLE(z, 3, 0, 1, 2);
        __m128i c = initial_c, d = d_next;
        ROUND PERMUTE ROUND PERMUTE ROUND PERMUTE ROUND PERMUTE ROUND PERMUTE ROUND PERMUTE ROUND
        a = _mm_xor_si128(a, c);
        b = _mm_xor_si128(b, d);
        d_next = _mm_insert_epi32(d_next, (int)flags, 3);
    }
    _mm_storeu_si128((__m128i *)value, a);
    _mm_storeu_si128((__m128i *)(value + 4), b);
}

#undef SHUFFLE
#undef PAIRS
#undef HALF
#undef ROUND
#undef PERMUTE
#undef CHAIN_NAME
#undef TARGET
#undef ROTATE16
#undef ROTATE12
#undef ROTATE8
#undef ROTATE7
