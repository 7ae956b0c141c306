// SPDX-License-Identifier: Apache-2.0
//
// What the processor can do and the kernel saves on a context switch.

#include <stdatomic.h>

#include "CBlake3.h"
#include "kernel.h"

#if LIFEBOAT_BLAKE3_X86
#include <cpuid.h>

static lifeboat_blake3_kind detect(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return LIFEBOAT_BLAKE3_PORTABLE;
    if (!(c & bit_SSSE3) || !(c & bit_SSE4_1)) return LIFEBOAT_BLAKE3_PORTABLE;
    if (!(c & bit_OSXSAVE) || !(c & bit_AVX)) return LIFEBOAT_BLAKE3_SSE41;
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    // XCR0: bits 1 and 2 are the SSE and AVX registers, bits 5 to 7 those of AVX-512.
    if ((low & 0x06) != 0x06 || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2)) {
        return LIFEBOAT_BLAKE3_SSE41;
    }
    if ((low & 0xE0) != 0xE0 || !(b & bit_AVX512F) || !(b & bit_AVX512VL)) return LIFEBOAT_BLAKE3_AVX2;
    return LIFEBOAT_BLAKE3_AVX512;
}
#else
static lifeboat_blake3_kind detect(void) { return LIFEBOAT_BLAKE3_PORTABLE; }
#endif

lifeboat_blake3_kind lifeboat_blake3_fastest(void) {
    // Threads that come first at once all find the same.
    static _Atomic int known = -1;
    int kind = atomic_load_explicit(&known, memory_order_relaxed);
    if (kind < 0) {
        kind = (int)detect();
        atomic_store_explicit(&known, kind, memory_order_relaxed);
    }
    return (lifeboat_blake3_kind)kind;
}

bool lifeboat_blake3_supports(lifeboat_blake3_kind kind) {
    return (unsigned)kind <= (unsigned)lifeboat_blake3_fastest();
}
