// A machine without processors for tests of the partition side: memory, partitions whose virtual processors are plain
// register files, a root that records what it receives.
#pragma once

#include <doctest/doctest.h>

#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "hypervisor/root_client.h"
#include "sim/simulation.h"

namespace hypervisor::test {

struct FakeVp final : VpControl {
    explicit FakeVp(std::uint32_t vp_index) : index(vp_index) {}

    HvStatus get_register(HvRegister name, HvRegisterValue& value) override {
        if (!known(name)) return HvStatus::unknown_register_name;
        value = registers[name];
        return HvStatus::success;
    }
    HvStatus set_register(HvRegister name, const HvRegisterValue& value) override {
        if (!known(name)) return HvStatus::unknown_register_name;
        registers[name] = value;
        return HvStatus::success;
    }
    static bool known(HvRegister name) { return name >= HvRegister::x64_rax && name <= HvRegister::x64_rflags; }

    bool accepts_destination(std::uint64_t address, bool logical) const override {
        if (logical) return index < 64 && ((address >> index) & 1) != 0;
        return address == index || address == 0xff;
    }
    HvStatus assert_interrupt(const InterruptRequest& request) override {
        interrupts.push_back(request);
        return HvStatus::success;
    }
    HvStatus post_message(std::uint32_t sint, const HvMessage& message) override {
        if (!synic_enabled) return HvStatus::invalid_synic_state;
        if (messages.size() >= 4) return HvStatus::insufficient_buffers;
        messages.emplace_back(sint, message);
        return HvStatus::success;
    }
    HvStatus signal_event(std::uint32_t sint, std::uint16_t flag) override {
        if (!synic_enabled) return HvStatus::invalid_synic_state;
        events.emplace_back(sint, flag);
        return HvStatus::success;
    }
    HvOutputTranslateVirtualAddress translate(std::uint64_t gva_page, std::uint64_t flags) override {
        HvOutputTranslateVirtualAddress output{};
        output.gpa_page = gva_page + 0x100;
        if ((flags & translate_gva_flag::validate_write) != 0) output.result_code = 2;
        return output;
    }

    std::uint32_t index;
    bool synic_enabled = true;
    std::map<HvRegister, HvRegisterValue> registers;
    std::vector<InterruptRequest> interrupts;
    std::vector<std::pair<std::uint32_t, HvMessage>> messages;
    std::vector<std::pair<std::uint32_t, std::uint16_t>> events;
};

struct FakeHost final : PartitionHost {
    VpControl& create_vp(Partition& partition, std::uint32_t index) override {
        auto& vp = vps[{partition.id(), index}];
        REQUIRE(vp == nullptr);
        vp = std::make_unique<FakeVp>(index);
        return *vp;
    }
    void delete_vp(Partition& partition, std::uint32_t index) override {
        REQUIRE(vps.erase({partition.id(), index}) == 1);
    }
    // A page and a bit of state, so that it takes two parts.
    hypervisor::HvStatus save_partition(Partition& partition, sim::Writer& writer) override {
        writer(partition.id(), std::vector<std::byte>(5000, std::byte{7}));
        return hypervisor::HvStatus::success;
    }
    hypervisor::HvStatus restore_partition(Partition&, sim::Reader& reader) override {
        hypervisor::PartitionId id = 0;
        std::vector<std::byte> bytes;
        reader(id, bytes);
        return bytes.size() == 5000 ? hypervisor::HvStatus::success : hypervisor::HvStatus::invalid_parameter;
    }
    void mapping_changed(Partition& partition, std::uint64_t gpa, std::uint64_t length) override {
        flushes.push_back({partition.id(), gpa, length});
        if (remapping != nullptr) remapping->domain_changed(partition.id(), gpa, length);
    }
    bool device_attached(Partition& partition, std::uint64_t physical) override {
        return remapping == nullptr ||
               remapping->join_domain(physical, partition.id(), partition.gpa_space().second_level());
    }
    void device_detached(std::uint64_t physical) override {
        if (remapping != nullptr) remapping->leave_domain(physical);
    }
    void interrupt_changed(std::uint32_t handle, const DeviceInterrupt* entry) override {
        if (entry != nullptr) {
            entries[handle] = entry->device;
        } else {
            entries.erase(handle);
        }
        if (remapping == nullptr) return;
        if (entry == nullptr) return remapping->clear_interrupt(handle);
        remapping->set_interrupt(
            handle, {entry->device, handle % 4, static_cast<std::uint8_t>(first_vector + handle / 4), std::nullopt});
    }
    // What comes of that from the host's side.
    static constexpr std::uint8_t first_vector = 0x30;
    static std::uint32_t handle_at(std::uint32_t processor, std::uint8_t vector) {
        return (vector - std::uint32_t{first_vector}) * 4 + processor;
    }
    HvStatus property_changed(Partition&, HvPartitionProperty property, std::uint64_t value) override {
        // As a machine of half an LP would.
        return property == HvPartitionProperty::cpu_reserve && value > 32768 ? HvStatus::no_resources
                                                                             : HvStatus::success;
    }
    FakeVp& vp(PartitionId partition, std::uint32_t index) { return *vps.at({partition, index}); }

    std::map<std::pair<PartitionId, std::uint32_t>, std::unique_ptr<FakeVp>> vps;
    std::vector<std::array<std::uint64_t, 3>> flushes;
    DeviceRemapping* remapping = nullptr;
    std::map<std::uint32_t, std::uint64_t> entries;  // of the interrupt table: whose each is
};

struct Received {
    PortId port = 0;
    std::uint32_t type_or_flag = 0;
    bool is_event = false;
    std::string payload;
    friend bool operator==(const Received&, const Received&) = default;
};

struct Receiver final : RootReceiver {
    void message(PortId port, const HvMessage& message) override {
        CHECK(message.header.origin == port);
        received.push_back({port, message.header.message_type, false,
                            std::string(reinterpret_cast<const char*>(message.payload), message.header.payload_size)});
    }
    void event(PortId port, std::uint16_t flag) override { received.push_back({port, flag, true, {}}); }
    void intercept(const HvMessage&) override {}
    std::vector<Received> received;
};

// Hands out the pages of [first, end), the lowest first.
struct RangeSource final : PageSource {
    RangeSource(std::uint64_t first, std::uint64_t end) {
        for (std::uint64_t page = end; page > first; --page) free.push_back(page - 1);
    }
    std::optional<std::uint64_t> allocate_page() override {
        if (free.empty()) return std::nullopt;
        const std::uint64_t page = free.back();
        free.pop_back();
        return page << 12;
    }
    void free_page(std::uint64_t spa) override { free.push_back(spa >> 12); }
    std::vector<std::uint64_t> free;
};

struct Machine {
    static constexpr std::uint64_t pages = 4096;
    static constexpr std::uint64_t source_pages = 512;  // the first ones; the others are for guests

    explicit Machine(Partitions::Options options = {})
        : partitions(simulation.scope("hypervisor"), options, {bytes.data(), bytes.size()}, host),
          ports(simulation.scope("hypervisor.ports"), root_partition, partitions, receiver),
          hypercalls(simulation.scope("hypervisor"), partitions, ports),
          client(hypercalls, source) {}

    // A child with virtual processors, ready to run.
    PartitionId child(std::uint32_t vps = 1,
                      std::uint64_t privileges = privilege::post_messages | privilege::signal_events) {
        const auto id = client.create_partition();
        REQUIRE(id);
        REQUIRE(client.set_property(*id, HvPartitionProperty::privilege_flags, privileges) == HvStatus::success);
        REQUIRE(client.initialize_partition(*id) == HvStatus::success);
        for (std::uint32_t vp = 0; vp < vps; ++vp) REQUIRE(client.create_vp(*id, vp) == HvStatus::success);
        return *id;
    }
    void destroy(PartitionId id) {
        REQUIRE(client.finalize_partition(id) == HvStatus::success);
        REQUIRE(client.delete_partition(id) == HvStatus::success);
    }
    void run() {
        while (simulation.agenda().run_next()) {
        }
    }

    std::vector<std::byte> bytes = std::vector<std::byte>(pages * 4096);
    // As an IOMMU: a handle's message from the device that it was made for.
    bool device_interrupt(std::uint64_t device, const DeviceMessage& message) {
        const auto entry = host.entries.find(handle_of(message));
        const bool remappable = (message.address & 1u << 4) != 0;
        const bool sub_handle = (message.address & 1u << 3) != 0 || message.data == 0;
        if (!remappable || !sub_handle || entry == host.entries.end() || entry->second != device) return false;
        return partitions.device_interrupt(entry->first);
    }

    sim::Simulation simulation{1};
    FakeHost host;
    Receiver receiver;
    RangeSource source{0, source_pages};
    Partitions partitions;
    Ports ports;
    RootHypercalls hypercalls;
    RootClient client;
};

// A call by its bytes.
struct RawResult {
    HvStatus status;
    std::uint32_t done;
    friend bool operator==(const RawResult&, const RawResult&) = default;
};

template <class Input>
RawResult raw_call(Machine& machine, PartitionId caller, HvCall code, const Input& input,
                   std::span<std::byte> output = {}, std::uint64_t control = 0) {
    std::vector<std::byte> bytes(sizeof(Input));
    std::memcpy(bytes.data(), &input, sizeof(Input));
    std::byte page[4096];
    if (output.empty()) output = page;
    const std::uint64_t result =
        machine.hypercalls.call(caller, static_cast<std::uint64_t>(code) | control, bytes, output);
    return {HvStatus{static_cast<std::uint16_t>(result)}, static_cast<std::uint32_t>(result >> 32)};
}

constexpr std::uint64_t reps(std::uint64_t count, std::uint64_t start = 0) {
    return count << 32 | start << 48;
}

}  // namespace hypervisor::test
