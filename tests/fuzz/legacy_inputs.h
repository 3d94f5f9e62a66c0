// Entry point that takes hostile bytes to the devices of a Generation 1 machine: ports, device memory, descriptors in
// RAM, frames, discs, failing media. As a libFuzzer target (fuzz_models_legacy.cpp), and with fixed seeds in the
// ordinary test run (tests/models/legacy_hostile_test.cpp). A property that fails is a VG_CHECK.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <vector>

#include "models/legacy/generation1_devices.h"
#include "sim/check.h"
#include "sim/simulation.h"
#include "tests/fuzz/byte_input.h"

namespace fuzz {

class HostileLegacyGuest final {
public:
    struct Done {
        std::uint64_t ports = 0;
        std::uint64_t commands = 0;  // that reached a medium
        std::uint64_t sent = 0;
        std::uint64_t received = 0;
        std::uint64_t interrupts = 0;
        bool operator==(const Done&) const = default;
    };

    HostileLegacyGuest() {
        devices_.add_disk(0, 0, disk_);
        devices_.add_disk(0, 1, other_);
        cd_ = &devices_.add_cd(1, 0, &disc_);
        nic_ = &devices_.add_adapter({0x00, 0x15, 0x5d, 1, 2, 3}, wire_);
        devices_.connect(ports_, mmio_);
        // As drivers begin.
        for (unsigned function : {7u << 3 | 1, 10u << 3}) write_config(function, 4, 7);
        for (unsigned pin = 0; pin < models::IoApic::pins; ++pin) {
            for (const auto& [index, value] : {std::pair{0x10 + 2 * pin, 0x30 + pin}, std::pair{0x11 + 2 * pin, 0u}}) {
                io_apic_.write_mmio(models::IoApic::gpa, 4, index);
                io_apic_.write_mmio(models::IoApic::gpa + 0x10, 4, value);
            }
        }
    }
    HostileLegacyGuest(const HostileLegacyGuest&) = delete;

    void act(ByteInput& input) {
        switch (input.byte() % 20) {
            case 0:
            case 1:
            case 2:
                return any_port(input);
            case 3:
            case 4:
                return command(input);
            case 5:
                return packet(input);
            case 6:
                return bus_master(input);
            case 7:
            case 8:
                return adapter(input);
            case 9:
            case 10:
                return poke(input);
            case 11:
                return frame(input);
            case 12:
            case 13:
                return simulation_.agenda().run_until(simulation_.agenda().now() +
                                                      sim::Time::ns(input.take<std::uint16_t>() * 4));
            case 14:
                return from_outside(input);
            case 15:
            case 16:
                return send(input);
            case 17:
            case 18:
                return offer_buffers(input);
            default: {
                const std::uint64_t gpa = 0xfebf'f000 + (input.take<std::uint16_t>() & 0x10ff);
                const unsigned size = 1u << input.byte() % 4;
                if (input.flag()) return mmio_.write(gpa, size, input.take<std::uint32_t>());
                VG_CHECK(size == 8 || mmio_.read(gpa, size) >> 8 * size == 0);
            }
        }
    }

    void run(std::span<const std::uint8_t> data) {
        unsigned sum = 0;
        for (const std::uint8_t byte : data) sum += byte;
        ByteInput input{data};
        while (!input.empty()) act(input);
        // It takes longer than the rest.
        if (sum % 4 == 0) compare_with_twin();
        check();
    }

    // A machine of the same make takes up the state and goes on the same way.
    void compare_with_twin() {
        const auto saved = save();
        VG_CHECK(saved.size() <= 700'000);
        HostileLegacyGuest twin;
        sim::Reader reader{saved};
        twin.exchange(reader);
        VG_CHECK(reader.remaining() == 0 && same(twin.save(), saved));
        twin.memory_.bytes = memory_.bytes;
        const sim::Time until = simulation_.agenda().now() + sim::Time::us(50);
        simulation_.agenda().run_until(until);
        twin.simulation_.agenda().run_until(until);
        VG_CHECK(same(twin.save(), save()) && same(twin.memory_.bytes, memory_.bytes));
    }
    // What must hold whatever the guest did.
    void check() {
        VG_CHECK(nic_->state().frame.size() <= models::dec21140::jabber_bytes);
        // And a reset silences it.
        devices_.reset();
        const Done before = done_;
        simulation_.agenda().run_until(simulation_.agenda().now() + sim::Time::s(1));
        VG_CHECK(done_ == before && simulation_.agenda().next_event().is_never());
    }
    const Done& done() const { return done_; }
    sim::Simulation& simulation() { return simulation_; }

private:
    // Byte by byte takes long under sanitizers.
    static bool same(const std::vector<std::byte>& one, const std::vector<std::byte>& other) {
        return one.size() == other.size() && std::memcmp(one.data(), other.data(), one.size()) == 0;
    }
    struct Memory final : vmbus::GuestMemory {
        std::vector<std::byte> bytes = std::vector<std::byte>(0x8000);
        bool inside(std::uint64_t gpa, std::size_t length) const {
            return gpa <= bytes.size() && length <= bytes.size() - gpa;
        }
        bool read(std::uint64_t gpa, std::span<std::byte> out) override {
            if (!inside(gpa, out.size())) return false;
            std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(gpa), out.size(), out.begin());
            return true;
        }
        bool write(std::uint64_t gpa, std::span<const std::byte> data) override {
            if (!inside(gpa, data.size())) return false;
            std::copy(data.begin(), data.end(), bytes.begin() + static_cast<std::ptrdiff_t>(gpa));
            return true;
        }
    };
    struct Blocks final : vmbus::BlockDevice {
        Blocks(sim::Agenda& agenda, std::uint64_t bytes, Done& d)
            : done(d), size(bytes), timer(agenda, "blocks", [this] { answer(); }) {}
        Geometry geometry() const override { return {size, 512, 4096, false, true}; }
        void attach(vmbus::BlockClient* who) override { client = who; }
        void submit(vmbus::BlockRequest request) override {
            ++done.commands;
            using Operation = vmbus::BlockRequest::Operation;
            VG_CHECK(request.offset_bytes <= size && request.length_bytes <= size - request.offset_bytes);
            VG_CHECK(request.length_bytes <= 256 * 512 || request.operation == Operation::unmap);
            VG_CHECK((request.operation == Operation::write) == !request.data.empty());
            VG_CHECK(request.data.empty() || request.data.size() == request.length_bytes);
            waiting.push_back({request.tag, request.operation == Operation::read ? request.length_bytes : 0});
            // A reset forgets one request at a time, so a handful can be under way and no more.
            if (!timer.armed()) timer.arm_after(sim::Time::us(5));
        }
        void answer() {
            const auto [tag, bytes] = waiting.front();
            waiting.pop_front();
            if (!waiting.empty()) timer.arm_after(sim::Time::us(5));
            const bool good = status == vmbus::BlockStatus::success;
            if (client != nullptr) client->block_done(tag, status, std::vector<std::byte>(good ? bytes : 0));
        }
        template <class Archive>
        void fields(Archive& archive) {
            archive(waiting, status, timer);
        }

        Done& done;
        std::uint64_t size;
        vmbus::BlockClient* client = nullptr;
        vmbus::BlockStatus status = vmbus::BlockStatus::success;
        std::deque<std::pair<std::uint64_t, std::uint64_t>> waiting;
        sim::Timer timer;
    };
    struct Wire final : models::FramePort {
        explicit Wire(Done& d) : done(d) {}
        void transmit(std::span<const std::byte> frame) override {
            VG_CHECK(frame.size() >= 14 && frame.size() <= models::dec21140::jabber_bytes);
            ++done.sent;
        }
        Done& done;
    };
    struct Processors final : models::InterruptMessagePort {
        explicit Processors(Done& d) : done(d) {}
        void deliver(const models::InterruptMessage&) override { ++done.interrupts; }
        Done& done;
    };
    struct Power final : models::PowerEvents {
        void power_off() override {}
        void reset_requested(models::ResetCause) override {}
    };

    void out(unsigned port, unsigned size, std::uint32_t value) {
        ++done_.ports;
        ports_.write(static_cast<std::uint16_t>(port), size, value);
    }
    std::uint32_t in(unsigned port, unsigned size) {
        ++done_.ports;
        const std::uint32_t value = ports_.read(static_cast<std::uint16_t>(port), size);
        VG_CHECK(size == 4 || value >> 8 * size == 0);
        return value;
    }
    void write_config(unsigned function, unsigned offset, std::uint32_t value) {
        out(0xcf8, 4, 0x8000'0000u | function << 8 | offset);
        out(0xcfc, 4, value);
    }

    void any_port(ByteInput& input) {
        static constexpr std::array<std::uint16_t, 26> places = {
            0x20,  0x21,  0xa0,  0xa1,  0x4d0, 0x40,  0x41,  0x42,  0x43,  0x61,  0x64,  0x92,   0xb2,
            0xcf8, 0xcf9, 0xcfc, 0x1f0, 0x1f2, 0x1f6, 0x3f6, 0x170, 0x176, 0x376, 0x400, 0xffa0, 0xec00};
        const std::uint8_t kind = input.byte();
        unsigned port = kind < 250 ? places[kind % places.size()] + input.byte() % 8u : input.take<std::uint16_t>();
        const unsigned size = 1u << input.byte() % 3;
        port = std::min(port, 0x10000 - size);
        if (input.flag()) {
            out(port, size, input.take<std::uint32_t>());
        } else {
            (void)in(port, size);
        }
    }
    // A task file that a disk could carry out, mostly.
    void command(ByteInput& input) {
        static constexpr std::array<std::uint8_t, 32> codes = {
            0x20, 0x24, 0x25, 0x29, 0x30, 0x34, 0x35, 0x39, 0x3d, 0x40, 0x42, 0xc4, 0xc5, 0xc6, 0xc8, 0xca,
            0xce, 0xe0, 0xe5, 0xe7, 0xea, 0xec, 0xef, 0x06, 0x90, 0x91, 0x08, 0xa1, 0xf8, 0x27, 0x10, 0xa0};
        const unsigned base = input.byte() < 200 ? 0x1f0 : 0x170;
        // One that hangs is reset, mostly.
        if ((in(base + 7, 1) & 0x88) != 0 && input.byte() < 200) {
            out(base + 0x206, 1, 4);
            out(base + 0x206, 1, 0);
        }
        const std::uint8_t drive = input.byte();
        out(base + 6, 1, 0x40u | (drive < 240 ? drive & 0x10u : drive & 0x1fu));
        for (unsigned reg = 1; reg <= 5; ++reg) {
            // Mostly an address on the disk. What was in a register before is the upper half of a 48-bit one.
            const std::uint8_t above = input.byte(), value = input.byte();
            out(base + reg, 1, above >= 250 ? above : 0);
            out(base + reg, 1, value >= 250 ? value : reg == 5 ? 0 : reg == 4 ? value & 7u : value);
        }
        const std::uint8_t code = input.byte();
        out(base + 7, 1, code < 240 ? codes[code % codes.size()] : input.byte());
        simulation_.agenda().run_until(simulation_.agenda().now() + sim::Time::us(input.byte() % 16));
        for (unsigned words = input.byte() % 64; words != 0; --words) {
            if ((words & 3) != 0) {
                (void)in(base, 2);
            } else {
                out(base, 2, input.take<std::uint16_t>());
            }
        }
    }
    void packet(ByteInput& input) {
        static constexpr std::array<std::uint8_t, 12> codes = {0x00, 0x03, 0x12, 0x1b, 0x1e, 0x25,
                                                               0x28, 0x43, 0x46, 0x4a, 0x5a, 0xa8};
        out(0x176, 1, 0);
        out(0x171, 1, input.byte() & 1);
        out(0x174, 1, input.byte());
        out(0x175, 1, input.byte());
        out(0x177, 1, 0xa0);
        std::array<std::uint8_t, 12> bytes{};
        for (auto& byte : bytes) byte = input.flag() ? input.byte() : 0;
        if (input.byte() < 230) bytes[0] = codes[bytes[0] % codes.size()];
        for (unsigned i = 0; i < bytes.size(); i += 2)
            out(0x170, 2, bytes[i] | static_cast<unsigned>(bytes[i + 1]) << 8);
        for (unsigned words = input.byte(); words != 0; --words) (void)in(0x170, 2);
    }
    void bus_master(ByteInput& input) {
        const unsigned base = 0xffa0 + (input.flag() ? 8 : 0);
        const std::uint32_t table = input.take<std::uint16_t>() & 0x7fff;
        // Pieces of the guest's choice, the last one marked.
        for (unsigned i = 0; i < 4 && table + 8 * i + 8 <= memory_.bytes.size(); ++i) {
            const std::uint32_t words[] = {input.take<std::uint16_t>(),
                                           input.take<std::uint16_t>() | (i == 3 || input.flag() ? 1u << 31 : 0u)};
            std::memcpy(&memory_.bytes[table + 8 * i], words, sizeof words);
        }
        out(base + 4, 4, table);
        out(base, 1, 0);
        out(base + 2, 1, 6);
        out(base, 1, input.byte() & 9);
    }
    void adapter(ByteInput& input) {
        const unsigned n = input.byte() % 16;
        std::uint32_t value = input.take<std::uint32_t>();
        if (n == 3 || n == 4) value &= 0x7fff;
        if (n == 6) value |= input.flag() ? 0x2002 : 0;
        if (n == 0 && input.flag()) value &= ~1u;
        const bool by_port = input.flag();
        if (by_port) return out(0xec00 + 8 * n, 4, value);
        mmio_.write(0xfebf'f000 + 8 * n, 4, value);
        (void)in(0xec00 + 8 * n, 4);
    }
    // Frames as a driver sends them, more or less: descriptors where the adapter looks next.
    void send(ByteInput& input) {
        const bool stopped = nic_->state().transmit_state == models::dec21140::TransmitState::stopped;
        std::uint32_t at = stopped ? 0x1000 : nic_->state().transmit_descriptor & 0x7ff0;
        for (unsigned left = input.byte() % 3 + 1u; left != 0 && at + 16 <= memory_.bytes.size(); --left, at += 16) {
            const std::uint8_t kind = input.byte();
            const std::uint32_t flags = kind < 200 ? 0x6000'0000u : std::uint32_t{kind} << 24;
            const std::uint32_t words[] = {1u << 31, flags | (input.take<std::uint16_t>() & 0x7ffu),
                                           input.take<std::uint16_t>() & 0x7fffu, 0x3000};
            std::memcpy(&memory_.bytes[at], words, sizeof words);
        }
        if (stopped) {
            out(0xec20, 4, 0x1000);
            out(0xec30, 4, 0x2002 | (input.flag() ? 0x40 : 0));
        }
        out(0xec08, 4, 1);
    }
    void offer_buffers(ByteInput& input) {
        const bool stopped = nic_->state().receive_state == models::dec21140::ReceiveState::stopped;
        std::uint32_t at = stopped ? 0x2000 : nic_->state().receive_descriptor & 0x7ff0;
        for (unsigned left = input.byte() % 4 + 1u; left != 0 && at + 16 <= memory_.bytes.size(); --left, at += 16) {
            const std::uint32_t words[] = {1u << 31,
                                           (input.take<std::uint16_t>() & 0x07ffu) | (input.flag() ? 1u << 24 : 0),
                                           input.take<std::uint16_t>() & 0x7fffu, 0x4000};
            std::memcpy(&memory_.bytes[at], words, sizeof words);
        }
        if (stopped) {
            out(0xec18, 4, 0x2000);
            out(0xec30, 4, 0x2042);
        }
        out(0xec10, 4, 1);
    }
    // A descriptor, or a few bytes, somewhere.
    void poke(ByteInput& input) {
        std::uint32_t at = input.take<std::uint16_t>() & 0x7ff0;
        const unsigned count = input.byte() % 4 + 1;
        for (unsigned i = 0; i < count && at + 16 <= memory_.bytes.size(); ++i, at += 16) {
            const std::uint32_t words[] = {
                input.byte() < 200 ? 1u << 31 : input.take<std::uint32_t>(),
                std::uint32_t{input.take<std::uint16_t>()} | std::uint32_t{input.byte()} << 24,
                input.take<std::uint16_t>() & 0x7fffu, input.take<std::uint16_t>() & 0x7fffu};
            std::memcpy(&memory_.bytes[at], words, sizeof words);
        }
    }
    void frame(ByteInput& input) {
        std::vector<std::byte> bytes(input.take<std::uint16_t>() % 3000);
        const std::uint8_t to = input.byte();
        for (std::size_t i = 0; i < std::min<std::size_t>(bytes.size(), 6); ++i) bytes[i] = static_cast<std::byte>(to);
        if (nic_->receive(bytes)) ++done_.received;
    }
    void from_outside(ByteInput& input) {
        const std::uint8_t kind = input.byte();
        switch (kind % 8) {
            case 0:
                return nic_->set_link(kind >= 32);
            case 1:
                return cd_->insert(kind < 128 ? &disc_ : nullptr);
            case 2:
                disk_.status = kind < 192 ? vmbus::BlockStatus::success : vmbus::BlockStatus::medium_error;
                return;
            case 3:
                return devices_.press_power_button();
            case 4:
                if (kind >= 224) devices_.reset();
                return;
            case 5:
                return io_apic_.eoi(static_cast<std::uint8_t>(0x30 + (kind >> 3)));
            default:
                write_config(input.byte(), input.byte() & 0xfc, input.take<std::uint32_t>());
        }
    }

    template <class Archive>
    void exchange(Archive& archive) {
        archive(simulation_.agenda(), io_apic_, devices_, disk_, other_, disc_);
    }
    std::vector<std::byte> save() {
        sim::Writer writer;
        exchange(writer);
        return writer.take();
    }

    Done done_;
    sim::Simulation simulation_;
    Memory memory_;
    Blocks disk_{simulation_.agenda(), 1u << 20, done_};
    Blocks other_{simulation_.agenda(), 1u << 16, done_};
    Blocks disc_{simulation_.agenda(), 1u << 18, done_};
    Wire wire_{done_};
    Processors processors_{done_};
    Power power_;
    models::IoApic io_apic_{simulation_.scope("io_apic"), processors_, 0};
    models::IoPortMap ports_{simulation_.scope("ports")};
    models::MmioMap mmio_{simulation_.scope("mmio")};
    models::Generation1Devices devices_{simulation_.scope("gen1"), {io_apic_, processors_, memory_, power_}};
    models::AtapiCd* cd_ = nullptr;
    models::Dec21140* nic_ = nullptr;
};

inline int legacy_devices(std::span<const std::uint8_t> data, HostileLegacyGuest::Done* done = nullptr) {
    HostileLegacyGuest guest;
    guest.run(data);
    if (done != nullptr) {
        done->ports += guest.done().ports;
        done->commands += guest.done().commands;
        done->sent += guest.done().sent;
        done->received += guest.done().received;
        done->interrupts += guest.done().interrupts;
    }
    return 0;
}

}  // namespace fuzz
