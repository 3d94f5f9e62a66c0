// How often a test repeats what it draws at random. The optimized build does all of it; where sanitizers watch each
// access, a tenth costs as much and finds what they are there to find.
#pragma once

#include <algorithm>
#include <cstdint>

#if defined(__SANITIZE_ADDRESS__)
#define VG_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define VG_SANITIZED 1
#endif
#endif

template <class N>
constexpr N effort(N repetitions) {
#ifdef VG_SANITIZED
    return std::max<N>(1, repetitions / 10);
#else
    return repetitions;
#endif
}
