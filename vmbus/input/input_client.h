// The guest's sides of keyboard and pointer, as Linux's drivers behave.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "vmbus/inband/guest_link.h"
#include "vmbus/input/keyboard.h"
#include "vmbus/input/pointer.h"

namespace vmbus {

class KeyboardClient final {
public:
    explicit KeyboardClient(GuestLink& link) : link_(link) {}

    void start(std::uint32_t version = keyboard::version_1_0);
    void received(std::span<const std::byte> message);
    void set_leds(std::uint16_t leds);

    bool accepted() const { return accepted_; }
    // The bytes as a keyboard's controller would give them: prefixes, codes, bit 7 for a release.
    const std::vector<std::uint8_t>& bytes() const { return bytes_; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(accepted_, bytes_);
    }

private:
    GuestLink& link_;
    bool accepted_ = false;
    std::vector<std::uint8_t> bytes_;
};

class PointerClient final {
public:
    explicit PointerClient(GuestLink& link) : link_(link) {}

    void start(std::uint32_t version = pointer::version_2_0);
    void received(std::span<const std::byte> packet);

    bool approved() const { return approved_; }
    const std::vector<std::byte>& report_descriptor() const { return descriptor_; }
    const std::vector<std::vector<std::byte>>& reports() const { return reports_; }

    template <class Archive>
    void fields(Archive& archive) {
        archive(approved_, descriptor_, reports_);
    }

private:
    GuestLink& link_;
    bool approved_ = false;
    std::vector<std::byte> descriptor_;
    std::vector<std::vector<std::byte>> reports_;
};

}  // namespace vmbus
