#include "vmbus/guid.h"

#include <fmt/format.h>

namespace vmbus {

std::string to_text(const Guid& guid) {
    constexpr std::array<std::size_t, 16> order{3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
    std::string text;
    for (std::size_t n = 0; n < 16; ++n) {
        if (n == 4 || n == 6 || n == 8 || n == 10) text += '-';
        text += fmt::format("{:02x}", guid.bytes[order[n]]);
    }
    return text;
}

}  // namespace vmbus
