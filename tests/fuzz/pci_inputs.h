// Entry point that takes hostile bytes to a PCI hierarchy: configuration, memory and I/O cycles from one side, devices'
// transactions, interrupts and removal from the other. As a libFuzzer target (fuzz_pci_config.cpp), and with fixed
// seeds in the ordinary test run (tests/pci/hostile_guest_test.cpp). A property that fails is a VG_CHECK.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "pci/bridge.h"
#include "pci/capabilities.h"
#include "pci/config_access.h"
#include "pci/message_interrupts.h"
#include "pci/root_complex.h"
#include "sim/check.h"
#include "sim/simulation.h"
#include "tests/fuzz/byte_input.h"

namespace fuzz {

class HostilePci final {
public:
    struct Done {
        std::uint64_t config = 0;
        std::uint64_t cycles_answered = 0;
        std::uint64_t dma = 0;
        std::uint64_t messages = 0;
    };

    HostilePci() {
        endpoint(root_.bus(), 1, 0, false);
        endpoint(root_.bus(), 1, 3, true);
        port_ = bridge(root_.bus(), 2, true);
        endpoint(port_->secondary(), 0, 0, true);
        inner_ = bridge(port_->secondary(), 1, false);
        endpoint(inner_->secondary(), 31, 7, false);
        devices_.push_back(std::make_unique<Device>(*this, port_->secondary().slot_at(0x181), layout(true)));
        // Half of the inputs begin where firmware would have left the machine.
        for (auto& device : devices_) device->function.write_config(pci::header::command, 2, 7);
    }
    HostilePci(const HostilePci&) = delete;

    void act(ByteInput& input) {
        const std::uint8_t kind = input.byte();
        switch (kind % 16) {
            case 0:
            case 1:
            case 2:
                return through_ports(input);
            case 3:
            case 4:
            case 5:
                return through_window(input);
            case 6:
                return enumerate(input);
            case 7:
            case 8:
            case 9:
                return cycle(input);
            case 10:
            case 11:
                return dma(input);
            case 12: {
                Device& device = pick(input);
                acting_ = &device;
                device.msix->raise(input.byte() % device.msix->vectors());
                device.msi->raise(input.byte() % 32);
                acting_ = nullptr;
                return;
            }
            case 13:
                return pick(input).function.set_intx(input.flag());
            case 14: {
                Device& device = pick(input);
                if (device.function.present() == input.flag()) {
                    device.function.remove();
                } else {
                    device.function.insert();
                }
                return port_->slot_changed();
            }
            default:
                return root_.bus().reset_all(static_cast<pci::ResetKind>(input.byte() % 4));
        }
    }

    // What must hold whatever software did.
    void check() {
        for (auto& device : devices_) {
            pci::ConfigSpace& config = device->function.config();
            VG_CHECK(config.get(0, 4) == 0x1234'8086 && config.get(pci::header::header_type, 1) == 0);
            unsigned length = 0;
            for (unsigned at = config.get(pci::header::capabilities_pointer, 1); at != 0; at = config.get(at + 1, 1)) {
                VG_CHECK(++length <= 8 && at >= 0x40);
            }
            for (unsigned bar = 0; bar < 6; ++bar) {
                if (bars[bar].kind == pci::BarKind::absent) continue;
                VG_CHECK(device->function.bar_address(bar) % bars[bar].size_bytes == 0);
            }
        }
        VG_CHECK(host_.lines == root_.bus().lines());
        // A machine of the same make takes up the state and has the same from then on.
        const auto saved = save();
        HostilePci twin;
        sim::Reader reader{saved};
        twin.exchange(reader);
        VG_CHECK(reader.remaining() == 0 && twin.save() == saved);
        for (std::uint64_t address : {0x1000ull, 0xfebf'0000ull, 0x1'0000'0000ull}) {
            VG_CHECK(root_.read(pci::Space::memory, address, 4) == twin.root_.read(pci::Space::memory, address, 4));
        }
    }
    const Done& done() const { return done_; }

private:
    static constexpr std::array<pci::Bar, 7> bars = {{{pci::BarKind::io, 0x100},
                                                      {pci::BarKind::memory32, 0x1000},
                                                      {pci::BarKind::memory64, 0x4000, true},
                                                      {},
                                                      {pci::BarKind::memory32, 0x2000},
                                                      {},
                                                      {pci::BarKind::rom, 0x800}}};
    static constexpr unsigned msix_bar = 4;

    struct Device final : pci::FunctionModel {
        Device(HostilePci& o, pci::Slot slot, std::shared_ptr<const pci::FunctionLayout> layout)
            : owner(o), function(o.simulation_.scope("device"), std::move(slot), std::move(layout), *this) {
            msi.emplace(function);
            msix.emplace(function);
        }
        std::uint64_t read_bar(unsigned bar, std::uint64_t offset, unsigned size) override {
            arrived(bar, offset, size);
            if (bar != msix_bar) return offset;
            return offset < 0x1000 ? msix->read_table(offset, size) : msix->read_pending(offset - 0x1000, size);
        }
        void write_bar(unsigned bar, std::uint64_t offset, unsigned size, std::uint64_t value) override {
            arrived(bar, offset, size);
            if (bar != msix_bar) return;
            Device* const former = owner.acting_;
            owner.acting_ = this;
            if (offset < 0x1000) msix->write_table(offset, size, value);
            owner.acting_ = former;
        }
        void arrived(unsigned bar, std::uint64_t offset, unsigned size) {
            VG_CHECK(function.present() && bar < bars.size() && offset + size <= bars[bar].size_bytes);
            ++owner.done_.cycles_answered;
        }
        void function_reset(pci::ResetKind) override {}

        HostilePci& owner;
        pci::Function function;
        std::optional<pci::Msi> msi;
        std::optional<pci::MsiX> msix;
    };

    // Whatever arrives must be from the device that acts at the moment, if we know one.
    struct Host final : pci::HostPort {
        explicit Host(HostilePci& o) : owner(o) {}
        pci::DmaStatus read_memory(pci::RequesterId who, std::uint64_t address, std::span<std::byte> out) override {
            from(who);
            return inside(address, out.size()) ? pci::DmaStatus::ok : pci::DmaStatus::unsupported;
        }
        pci::DmaStatus write_memory(pci::RequesterId who, std::uint64_t address,
                                    std::span<const std::byte> data) override {
            from(who);
            VG_CHECK(address + data.size() <= 0xfee0'0000 || address >= 0xfef0'0000);
            return inside(address, data.size()) ? pci::DmaStatus::ok : pci::DmaStatus::aborted;
        }
        void interrupt(const pci::InterruptMessage& message) override {
            from(message.requester);
            ++owner.done_.messages;
        }
        void line(unsigned line, bool asserted) override {
            VG_CHECK(line < 4 && (lines >> line & 1) != (asserted ? 1 : 0));
            lines ^= static_cast<std::uint8_t>(1u << line);
        }
        void from(pci::RequesterId who) {
            if (owner.acting_ == nullptr) return;
            VG_CHECK(who == owner.acting_->function.id() && owner.acting_->function.present());
        }
        static bool inside(std::uint64_t address, std::size_t bytes) { return address + bytes <= 0x10000; }

        HostilePci& owner;
        std::uint8_t lines = 0;
    };

    static std::shared_ptr<const pci::FunctionLayout> layout(bool express) {
        pci::Identity who;
        who.vendor = 0x8086;
        who.device = 0x1234;
        who.class_of = pci::class_of::ethernet;
        who.interrupt_pin = 1;
        pci::FunctionLayout made =
            pci::device_function(who, bars, express ? pci::extended_config_bytes : pci::legacy_config_bytes);
        pci::add_power_management(made.config, {0, !express});
        pci::add_msi(made.config, {32, true, true});
        pci::add_msix(made.config, {80, msix_bar, 0, msix_bar, 0x1000});
        if (express) {
            pci::PciExpress link;
            link.function_level_reset = true;
            pci::add_express(made.config, link);
            pci::add_aer(made.config, false);
        }
        return std::make_shared<const pci::FunctionLayout>(std::move(made));
    }
    void endpoint(pci::Bus& bus, unsigned device, unsigned function, bool express) {
        devices_.push_back(std::make_unique<Device>(*this, bus.slot(device, function), layout(express)));
    }
    std::unique_ptr<pci::Bridge> bridge(pci::Bus& bus, unsigned device, bool express) {
        pci::Identity who;
        who.vendor = 0x8086;
        who.device = 0x3420;
        who.class_of = pci::class_of::pci_bridge;
        pci::FunctionLayout made =
            pci::bridge_function(who, {}, express ? pci::extended_config_bytes : pci::legacy_config_bytes);
        if (express) {
            pci::add_msi(made.config, {});
            pci::PciExpress link;
            link.type = pci::express::PortType::root_port;
            link.slot = link.ari_forwarding = true;
            pci::add_express(made.config, link);
            pci::add_aer(made.config, true);
        }
        return std::make_unique<pci::Bridge>(simulation_.scope("bridge"), bus.slot(device, 0),
                                             std::make_shared<const pci::FunctionLayout>(std::move(made)));
    }

    Device& pick(ByteInput& input) { return *devices_[input.byte() % devices_.size()]; }
    // Mostly somebody who is there.
    pci::RequesterId target(ByteInput& input) {
        const std::uint8_t kind = input.byte();
        if (kind < 160) return devices_[kind % devices_.size()]->function.id();
        if (kind < 200) return port_->function().id();
        if (kind < 240) return inner_->function().id();
        return {input.take<std::uint16_t>()};
    }
    static std::uint32_t value(ByteInput& input) {
        switch (input.byte() % 6) {
            case 0:
                return ~std::uint32_t{0};
            case 1:
                return input.byte();
            case 2:
                return std::uint32_t{input.byte()} << 12;
            case 3:
                return 0xfe00'0000u | std::uint32_t{input.byte()} << 12;
            default:
                return input.take<std::uint32_t>();
        }
    }
    static unsigned size_of(ByteInput& input) { return 1u << input.byte() % 3; }

    void through_ports(ByteInput& input) {
        ++done_.config;
        const pci::RequesterId who = target(input);
        ports_.write(0xcf8, 4, 0x8000'0000u | std::uint32_t{who.value} << 8 | (input.byte() & 0xfcu));
        const unsigned size = size_of(input);
        const auto port = static_cast<std::uint16_t>(0xcf8 + input.byte() % (9 - size));
        if (input.flag()) {
            ports_.write(port, size, value(input));
        } else {
            VG_CHECK(size == 4 || ports_.read(port, size) >> 8 * size == 0);
        }
    }
    void through_window(ByteInput& input) {
        ++done_.config;
        const unsigned size = 1u << input.byte() % 4;
        std::uint64_t address = window_.base() + (std::uint64_t{target(input).value} << 12);
        address += input.take<std::uint16_t>() & 0xfff;
        address = std::min(address, window_.base() + window_.bytes() - size);
        if (input.flag()) {
            window_.write(address, size, std::uint64_t{value(input)} << 32 | value(input));
        } else {
            VG_CHECK(size == 8 || window_.read(address, size) >> 8 * size == 0);
        }
    }
    // Numbers and windows as an enumeration sets them, so that inputs get further.
    void enumerate(ByteInput& input) {
        const pci::RequesterId port = port_->function().id();
        const std::uint8_t first = input.byte();
        for (const auto& [bridge, number] : {std::pair{port, first}, {pci::RequesterId{}, std::uint8_t{}}}) {
            if (number == 0) continue;
            root_.write_config(bridge, pci::header1::secondary_bus, 1, number);
            root_.write_config(bridge, pci::header1::subordinate_bus, 1, 0xff);
            root_.write_config(bridge, pci::header1::memory_base, 2, 0xfe00);
            root_.write_config(bridge, pci::header1::memory_limit, 2, 0xfeb0);
            root_.write_config(bridge, pci::header::command, 2, 7);
        }
        const pci::RequesterId inner = inner_->function().id();
        root_.write_config(inner, pci::header1::secondary_bus, 1, static_cast<std::uint8_t>(first + 1));
        root_.write_config(inner, pci::header1::subordinate_bus, 1, static_cast<std::uint8_t>(first + 1));
        root_.write_config(inner, pci::header::command, 2, 7);
        for (auto& device : devices_) {
            root_.write_config(device->function.id(), 0x14, 4, 0xfe00'0000u | std::uint32_t{input.byte()} << 12);
            root_.write_config(device->function.id(), 0x20, 4, 0xfe00'0000u | std::uint32_t{input.byte()} << 13);
            root_.write_config(device->function.id(), pci::header::command, 2, 7);
            const pci::ConfigLayout& layout = device->function.config().layout();
            const unsigned msix = layout.capability(pci::capability_id::msix);
            const unsigned msi = layout.capability(pci::capability_id::msi);
            root_.write_config(device->function.id(), msix + 2, 2, input.take<std::uint16_t>());
            root_.write_config(device->function.id(), msi + 2, 2, input.byte());
            acting_ = device.get();
            root_.write_config(device->function.id(), msi + 4, 4, pci::RootComplex::message_window);
            for (unsigned entry = 0; entry < 4; ++entry) {
                device->msix->write_table(16 * entry, 4, pci::RootComplex::message_window);
                device->msix->write_table(16 * entry + 12, 4, input.byte());
            }
            acting_ = nullptr;
        }
    }
    void cycle(ByteInput& input) {
        const bool memory = input.flag();
        const pci::Space space = memory ? pci::Space::memory : pci::Space::io;
        const unsigned size = 1u << input.byte() % (memory ? 4 : 3);
        std::uint64_t address = memory ? value(input) : input.take<std::uint16_t>();
        const std::uint8_t where = input.byte();
        if (memory && where < 160) {
            const Device& device = *devices_[where % devices_.size()];
            address = device.function.bar_address(where & 0x40 ? 1 : msix_bar) + (input.take<std::uint16_t>() & 0x1fff);
        } else if (memory && where < 180) {
            address |= std::uint64_t{input.byte()} << 32;
        }
        if (input.flag()) {
            root_.write(space, address, size, std::uint64_t{value(input)} << 32 | value(input));
        } else {
            VG_CHECK(size == 8 || root_.read(space, address, size) >> 8 * size == 0);
        }
    }
    void dma(ByteInput& input) {
        ++done_.dma;
        Device& device = pick(input);
        std::array<std::byte, 256> data{};
        const std::uint8_t length = input.byte();
        const auto part = std::span{data}.first(length < 64 ? 4 : length);
        std::uint64_t address = input.flag() ? 0xfee0'0000u + input.byte() : value(input);
        if (input.byte() < 16) address |= ~std::uint64_t{0xff};
        acting_ = &device;
        const pci::DmaStatus status =
            input.flag() ? device.function.master().read(address, part) : device.function.master().write(address, part);
        acting_ = nullptr;
        VG_CHECK(status != pci::DmaStatus::ok || device.function.master().enabled());
    }

    template <class Archive>
    void exchange(Archive& archive) {
        archive(root_, ports_, *port_, *inner_);
        for (auto& device : devices_) archive(device->function, *device->msix);
        archive(host_.lines);
    }
    std::vector<std::byte> save() {
        sim::Writer writer;
        exchange(writer);
        return writer.take();
    }

    sim::Simulation simulation_;
    Host host_{*this};
    Device* acting_ = nullptr;
    Done done_;
    pci::RootComplex root_{simulation_.scope("root"), host_, pci::Wiring::rotated};
    pci::ConfigPorts ports_{root_};
    pci::ConfigWindow window_{root_, 0xe000'0000, 0, 256};
    std::unique_ptr<pci::Bridge> port_;
    std::unique_ptr<pci::Bridge> inner_;
    std::vector<std::unique_ptr<Device>> devices_;
};

inline int pci_config(std::span<const std::uint8_t> data, HostilePci::Done* done = nullptr) {
    HostilePci machine;
    ByteInput input{data};
    while (!input.empty()) machine.act(input);
    machine.check();
    if (done != nullptr) {
        done->config += machine.done().config;
        done->cycles_answered += machine.done().cycles_answered;
        done->dma += machine.done().dma;
        done->messages += machine.done().messages;
    }
    return 0;
}

}  // namespace fuzz
