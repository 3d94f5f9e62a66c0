// Memory of a guest that is nothing but bytes, for guests that execute no instructions and run on no hypervisor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "vmbus/ports.h"

namespace vmbus {

class PlainMemory final : public GuestMemory {
public:
    explicit PlainMemory(std::uint64_t pages) : bytes_(static_cast<std::size_t>(pages * 4096)) {}
    [[nodiscard]] bool read(std::uint64_t gpa, std::span<std::byte> out) override {
        if (gpa > bytes_.size() || out.size() > bytes_.size() - gpa) return false;
        if (!out.empty()) std::memcpy(out.data(), bytes_.data() + gpa, out.size());
        return true;
    }
    [[nodiscard]] bool write(std::uint64_t gpa, std::span<const std::byte> data) override {
        if (gpa > bytes_.size() || data.size() > bytes_.size() - gpa) return false;
        if (!data.empty()) std::memcpy(bytes_.data() + gpa, data.data(), data.size());
        return true;
    }

private:
    std::vector<std::byte> bytes_;
};

}  // namespace vmbus
