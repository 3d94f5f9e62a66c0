#include "mmu/system_memory.h"

#include <cstdlib>

#include "sim/check.h"

namespace mmu {

// Not a vector: that would write every byte, a gigabyte of them for the largest hosts.
WriteWatch::WriteWatch(u64 memory_size)
    : count_((memory_size + 0xfff) >> 12), pages_(static_cast<u8*>(std::calloc(count_ != 0 ? count_ : 1, 1))) {
    VG_CHECK(pages_ != nullptr, "no memory to watch writes");
}

WriteWatch::~WriteWatch() {
    std::free(pages_);
}

}  // namespace mmu
