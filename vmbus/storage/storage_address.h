// Where a logical unit is on its controller.
#pragma once

#include <compare>
#include <cstdint>

namespace vmbus {

struct StorageAddress {
    std::uint8_t path = 0;
    std::uint8_t target = 0;
    std::uint8_t lun = 0;

    friend auto operator<=>(const StorageAddress&, const StorageAddress&) = default;
    template <class Archive>
    void fields(Archive& archive) {
        archive(path, target, lun);
    }
};

}  // namespace vmbus
