// A 21140 on a bus with a few pages of memory, driven as a driver would.
#pragma once

#include <cstring>
#include <vector>

#include "models/legacy/dec21140.h"
#include "tests/pci/rig.h"

namespace legacy_test {

namespace chip = models::dec21140;

inline std::vector<std::byte> bytes_of(std::initializer_list<int> values) {
    std::vector<std::byte> bytes;
    for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
    return bytes;
}

struct RecordedFrames final : models::FramePort {
    explicit RecordedFrames(sim::Agenda& a) : agenda(a) {}
    void transmit(std::span<const std::byte> frame) override {
        frames.emplace_back(frame.begin(), frame.end());
        times.push_back(agenda.now());
    }
    sim::Agenda& agenda;
    std::vector<std::vector<std::byte>> frames;
    std::vector<sim::Time> times;
};

struct NicRig : pci_test::Rig {
    static constexpr std::uint16_t ports = 0xec00;
    static constexpr std::uint32_t receive_list = 0x1000, transmit_list = 0x2000, receive_buffers = 0x4000,
                                   transmit_buffers = 0x8000, set_up_buffer = 0x3000;
    static constexpr models::AddressFilter::Address mac = {0x00, 0x15, 0x5d, 0x01, 0x02, 0x03};

    RecordedFrames wire{simulation.agenda()};
    models::Dec21140 nic{simulation.scope("nic"), root.bus().slot(10, 0), wire, mac};

    NicRig() : Rig(pci::Wiring::straight) {
        set_config(id(0, 10), 0x10, 4, ports);
        set_config(id(0, 10), pci::header::command, 2, pci::command::io_space | pci::command::bus_master);
    }
    std::uint32_t csr(unsigned n) {
        return static_cast<std::uint32_t>(root.read(pci::Space::io, ports + chip::csr(n), 4));
    }
    void set_csr(unsigned n, std::uint32_t value) { root.write(pci::Space::io, ports + chip::csr(n), 4, value); }
    void run(sim::Time until) { simulation.agenda().run_until(until); }
    void run_for(sim::Time time) { run(simulation.agenda().now() + time); }
    bool interrupt() const { return !host.lines.empty() && host.lines.back() == "+0"; }

    std::uint32_t load(std::uint32_t address) const {
        std::uint32_t value = 0;
        std::memcpy(&value, &host.memory[address], sizeof value);
        return value;
    }
    void put(std::uint32_t address, std::initializer_list<std::uint32_t> words) {
        for (const std::uint32_t word : words) {
            std::memcpy(&host.memory[address], &word, sizeof word);
            address += 4;
        }
    }
    void put_bytes(std::uint32_t address, std::span<const std::byte> data) {
        std::copy(data.begin(), data.end(), host.memory.begin() + address);
    }
    std::vector<std::byte> bytes(std::uint32_t address, std::size_t count) const {
        return {host.memory.begin() + address, host.memory.begin() + address + static_cast<std::ptrdiff_t>(count)};
    }

    // A frame of `size` bytes whose n-th is n, to a destination.
    static std::vector<std::byte> frame(std::size_t size, const models::AddressFilter::Address& to = mac) {
        std::vector<std::byte> made(size);
        for (std::size_t i = 0; i < size; ++i) made[i] = static_cast<std::byte>(i);
        for (std::size_t i = 0; i < std::min(size, to.size()); ++i) made[i] = static_cast<std::byte>(to[i]);
        return made;
    }
    // A set-up frame with our own address in all sixteen places but the last, which is the broadcast address.
    void put_set_up() {
        for (std::uint32_t n = 0; n < 16; ++n) {
            for (std::uint32_t i = 0; i < 3; ++i) {
                const std::uint32_t own = mac[2 * i] | std::uint32_t{mac[2 * i + 1]} << 8;
                put(set_up_buffer + 12 * n + 4 * i, {n == 15 ? 0xffffu : own});
            }
        }
    }
    // Ring of `count` receive descriptors with one buffer each.
    void receive_ring(unsigned count, std::uint32_t size) {
        for (std::uint32_t n = 0; n < count; ++n) {
            const std::uint32_t end = n + 1 == count ? chip::rdes1::end_of_ring : 0;
            put(receive_list + 16 * n, {chip::owned, size | end, receive_buffers + 0x800 * n, 0});
        }
        set_csr(3, receive_list);
    }
    // As a driver starts: lists, address, both processes.
    void start(unsigned receive_descriptors = 4, std::uint32_t receive_size = 0x600) {
        receive_ring(receive_descriptors, receive_size);
        put_set_up();
        put(transmit_list, {chip::owned, chip::tdes1::set_up | chip::tdes1::interrupt | 192, set_up_buffer, 0});
        put(transmit_list + 16, {0, 0, 0, 0});
        set_csr(4, transmit_list);
        set_csr(6, chip::mode::start_receive | chip::mode::start_transmit);
        run_for(sim::Time::us(1));
        set_csr(5, 0x1ffff);
        set_csr(7, chip::status::clearable);
    }
};

}  // namespace legacy_test
