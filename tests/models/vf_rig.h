// A plain guest with a virtual function of a host's 82599: its adapter behind a link and the IOMMU, a virtual PCI bus,
// and between the guest's registers and the function what AssignedFunction does in a partition.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "models/pci/adapter_cable.h"
#include "models/pci/host_adapter.h"
#include "pci/capability_registers.h"
#include "pci/config_registers.h"
#include "tests/models/driver_stack.h"
#include "tests/models/plain_guest.h"
#include "vmbus/virtual_pci/virtual_pci.h"

namespace models::test {

class PlainFunction final : public RegisterTarget, private vmbus::VirtualPciFunction, private RootInterrupts {
public:
    PlainFunction(PlainGuest& guest, HostPci& host, sim::Processor& root, VfSource& source)
        : source_(source),
          guest_(guest),
          host_(host),
          function_(source.start_vf()),
          bus_(guest.loop.simulation.scope("root.vpci"), {guest.loop.server, root, {}}, 1, *this),
          registration_(guest.loop.simulation.scope("function").register_state(*this)) {
        function_.identity.serial = 7;
        host.let_use(function_.id, &guest.loop.memory);
        host.listen(function_.id, this);
        for (std::uint8_t n = 0; n < most_messages; ++n) messages_.push_back(host.root_message(function_.id, n));
        guest.target = this;
    }
    void offer() { bus_.offer(function_.identity); }
    void eject() { bus_.eject(); }
    void take() {
        remove_window();
        bus_.rescind();
        host_.reset(function_);
        source_.stop_vf();
    }
    bool offered() const { return bus_.offered(); }
    VfSource& source() { return source_; }

    // Accesses to configuration space, to the MSI-X table, and to registers: reads and writes.
    struct Counts {
        std::uint64_t config = 0, table = 0, reads = 0, writes = 0;
    } counts;

    std::uint64_t read(bool, std::uint64_t gpa, unsigned bytes) override {
        if (const auto in = in_window(gpa)) {
            ++counts.config;
            return *in < 0x1000 ? ~0u : host_.read_config(function_.id, *in - 0x1000, bytes);
        }
        const std::optional<std::uint64_t> spa = host_address(gpa);
        sim::Time cost;
        return spa ? host_.read(*spa, bytes, cost) : ~std::uint64_t{0} >> (64 - 8 * bytes);
    }
    void write(bool, std::uint64_t gpa, unsigned bytes, std::uint64_t value) override {
        if (const auto in = in_window(gpa)) {
            ++counts.config;
            if (*in < 0x1000) return;
            const unsigned offset = *in - 0x1000;
            if (offset >= 0x10 && offset < 0x28) {
                state_.bars[(offset - 0x10) / 4] = static_cast<std::uint32_t>(value);
            } else {
                host_.write_config(function_.id, offset, bytes, static_cast<std::uint32_t>(value));
            }
            return;
        }
        sim::Time cost;
        if (const auto spa = host_address(gpa)) host_.write(*spa, bytes, value, cost);
    }

    template <class Archive>
    void fields(Archive& archive) {
        archive(state_);
    }

private:
    struct Target {
        std::uint32_t vector = 0;
        std::uint32_t vp = 0;
        template <class Archive>
        void fields(Archive& archive) {
            archive(vector, vp);
        }
    };
    struct State {
        std::optional<std::uint64_t> window;
        std::array<std::uint32_t, 6> bars{};
        std::vector<Target> targets;
        template <class Archive>
        void fields(Archive& archive) {
            archive(window, bars, targets);
        }
    };

    std::optional<unsigned> in_window(std::uint64_t gpa) const {
        if (!state_.window || gpa < *state_.window || gpa >= *state_.window + 0x2000) return std::nullopt;
        return static_cast<unsigned>(gpa - *state_.window);
    }
    std::optional<std::uint64_t> host_address(std::uint64_t gpa) {
        if (!state_.window) return std::nullopt;
        for (const unsigned bar : {0u, 3u}) {
            const std::uint64_t at =
                (std::uint64_t{state_.bars[bar + 1]} << 32 | state_.bars[bar]) & ~std::uint64_t{15};
            if (gpa < at || gpa >= at + 0x4000) continue;
            (bar == 3 ? counts.table : counts.writes) += 1;
            return function_.addresses[bar] + gpa - at;
        }
        return std::nullopt;
    }

    std::array<std::uint32_t, vmbus::virtual_pci::bars> bar_masks() override {
        return {0xffff'c004, 0xffff'ffff, 0, 0xffff'c004, 0xffff'ffff, 0};
    }
    bool place_window(std::uint64_t gpa) override {
        state_.window = gpa;
        return true;
    }
    void remove_window() override {
        state_.window.reset();
        state_.targets.clear();
    }
    std::optional<vmbus::PciMessage> create_interrupt(const vmbus::PciInterrupt& interrupt) override {
        state_.targets.push_back(
            {interrupt.vector, static_cast<std::uint32_t>(std::countr_zero(interrupt.processors))});
        if (state_.targets.size() > most_messages) return std::nullopt;
        const pci::InterruptMessage& message = messages_[state_.targets.size() - 1];
        return vmbus::PciMessage{message.address, message.data, 1};
    }
    void delete_interrupt(const vmbus::PciMessage&) override {}
    void ejected() override { take(); }
    void message(std::uint32_t number) override {
        if (number >= state_.targets.size()) return;
        guest_.interrupt(state_.targets[number].vp, static_cast<std::uint8_t>(state_.targets[number].vector));
    }

    static constexpr std::uint8_t most_messages = 8;

    VfSource& source_;
    PlainGuest& guest_;
    HostPci& host_;
    HostFunction function_;
    State state_;
    std::vector<pci::InterruptMessage> messages_;
    vmbus::VirtualPci bus_;
    sim::StateRegistration registration_;
};

// The host's side of it.
struct VfHost {
    static inline const MacAddress guest_mac = mac_address("02:00:00:00:00:01"),
                                   far_mac = mac_address("02:00:00:00:00:02"),
                                   host_mac = mac_address("02:00:00:00:00:08");

    VfHost(vmbus::test::Loopback& the_loop, sriov_nic::VfKind kind)
        : loop(the_loop),
          pci(loop.simulation.scope("pci"), {{sim::Time::ns(500), sim::Time::ns(50)}}, {bytes.data(), bytes.size()}) {
        HostAdapterConfig config;
        config.name = "nic";
        config.mac = host_mac;
        config.vfs = 2;
        adapter.emplace(loop.simulation.scope("nic"), pci, root, config);
        adapter->connect_switch(network, "nic");
        adapter->connect_wire(far);
        source = &adapter->reserve_vf(guest_mac, kind);
    }
    // Frames on the cable, one behind the other.
    void from_wire(std::uint32_t first, std::uint32_t count, std::size_t frame_bytes = 60) {
        for (std::uint32_t n = first; n < first + count; ++n) {
            adapter->from_wire().receive(Frame{numbered_frame(guest_mac, far_mac, n, frame_bytes)});
            loop.run(sim::Time::ps(static_cast<std::int64_t>(frame_bytes + 24) * 800));
        }
    }

    vmbus::test::Loopback& loop;
    sim::SerialProcessor root{loop.simulation.scope("root.cpu"), sim::Time::zero()};
    std::vector<std::byte> bytes = std::vector<std::byte>(std::size_t{1} << 20);
    HostPci pci;
    VirtualSwitch network{loop.simulation.scope("switch")};
    FarEnd far{loop.simulation.scope("far")};
    std::optional<HostAdapter> adapter;
    VfSource* source = nullptr;
};

}  // namespace models::test
