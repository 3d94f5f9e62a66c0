// What the engine's files share and nobody else needs: the hidden page of guest mode, and error checks.
#pragma once

#include <unicorn/unicorn.h>

#include <cstdint>
#include <string>

#include "sim/check.h"

namespace cpu {

// System physical addresses that no guest can be given: above the RAM of the host. SVM's control block and its
// permission maps are there (APM volume 2, 15.10 and 15.11).
inline constexpr std::uint64_t hidden_spa = 1ull << 46;
inline constexpr std::uint64_t hidden_size = 0x10000;
inline constexpr std::uint64_t hidden_io_map = 0x1000;
inline constexpr std::uint64_t hidden_msr_map = 0x5000;

inline void require(uc_err error, const char* what) {
    VG_CHECK(error == UC_ERR_OK, std::string{what} + ": " + uc_strerror(error));
}

}  // namespace cpu
