// The hypercalls with which a partition manages others: the only way there is into a partition. The root's stack is
// C++, but it calls with the same control words and the same bytes as a kernel would; every call is traced.
//
// A declarative table says of each call its number, sizes, privilege and handler (root_hypercalls.cpp). Input has been
// copied from the caller's memory before it comes here, so what is checked is what is used.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

#include "hypervisor/partition.h"
#include "hypervisor/ports.h"

namespace hypervisor {

// What the root's stack gets to hold: nothing else of the hypervisor.
class RootInterface {
public:
    virtual ~RootInterface() = default;
    // The control word of TLFS 3.5; returns the result word of 3.6. `output` is as long as the call writes, at least.
    virtual std::uint64_t hypercall(std::uint64_t control, std::span<const std::byte> input,
                                    std::span<std::byte> output) = 0;
};

class RootHypercalls final : public RootInterface {
public:
    RootHypercalls(const sim::Scope& scope, Partitions& partitions, Ports& ports);

    std::uint64_t hypercall(std::uint64_t control, std::span<const std::byte> input,
                            std::span<std::byte> output) override {
        return call(root_partition, control, input, output);
    }
    // The same calls made by any partition: what it may do is what its privileges say.
    std::uint64_t call(PartitionId caller, std::uint64_t control, std::span<const std::byte> input,
                       std::span<std::byte> output);

    // The table, for tests and documentation.
    enum class Kind : std::uint8_t { simple, rep };
    struct Row;
    static std::span<const Row> table();
    static const Row* find(std::uint16_t code);

private:
    // One call under way. Handlers of rep calls do elements [start, count) and say how many are done in all.
    struct Call {
        Partition& caller;
        std::span<const std::byte> input;
        std::span<std::byte> output;
        std::uint32_t start = 0;
        std::uint32_t count = 0;
        std::uint32_t done = 0;
        std::size_t header_bytes = 0;
        std::size_t element_bytes = 0;

        template <class Header>
        Header header() const {
            static_assert(std::is_trivially_copyable_v<Header>);
            Header value{};
            std::memcpy(&value, input.data(), std::min(sizeof(Header), header_bytes));
            return value;
        }
        template <class Element>
        Element element(std::uint32_t index) const {
            Element value{};
            std::memcpy(&value, input.data() + header_bytes + index * element_bytes, sizeof(Element));
            return value;
        }
        template <class Output>
        void write(const Output& value, std::uint32_t index = 0) {
            std::memcpy(output.data() + index * sizeof(Output), &value, sizeof(Output));
        }
    };
    using Handler = HvStatus (RootHypercalls::*)(Call&);

public:
    struct Row {
        HvCall code;
        std::string_view name;
        Kind kind;
        std::uint16_t input_bytes;    // fixed part
        std::uint16_t element_bytes;  // of each rep
        std::uint16_t output_bytes;   // of a simple call, or of each rep
        std::uint64_t privilege;
        Handler handler;
    };

private:
    HvStatus check(const Row* row, const Partition& caller, std::uint64_t control, std::span<const std::byte> input,
                   std::span<std::byte> output) const;
    // The partition that a call is about: the caller itself, or a child of the root's if the root calls.
    Partition* target(Call& call, std::uint64_t id, HvStatus& status);
    // The same, if it is no root and has been initialized.
    Partition* child(Call& call, std::uint64_t id, HvStatus& status);

    HvStatus create_partition(Call& call);
    HvStatus initialize_partition(Call& call);
    HvStatus finalize_partition(Call& call);
    HvStatus delete_partition(Call& call);
    HvStatus get_partition_property(Call& call);
    HvStatus set_partition_property(Call& call);
    HvStatus get_partition_id(Call& call);
    HvStatus get_next_child_partition(Call& call);
    HvStatus deposit_memory(Call& call);
    HvStatus withdraw_memory(Call& call);
    HvStatus get_memory_balance(Call& call);
    HvStatus map_gpa_pages(Call& call);
    HvStatus unmap_gpa_pages(Call& call);

    HvStatus get_gpa_pages_access_state(Call& call);
    HvStatus save_partition_state(Call& call);
    HvStatus restore_partition_state(Call& call);

    HvStatus install_intercept(Call& call);
    HvStatus register_intercept_result(Call& call);
    HvStatus create_vp(Call& call);
    HvStatus delete_vp(Call& call);
    HvStatus get_vp_registers(Call& call);
    HvStatus set_vp_registers(Call& call);
    HvStatus translate_virtual_address(Call& call);
    HvStatus read_gpa(Call& call);
    HvStatus write_gpa(Call& call);
    HvStatus get_vp_index_from_apic_id(Call& call);
    HvStatus clear_virtual_interrupt(Call& call);
    HvStatus assert_virtual_interrupt(Call& call);

    // root_hypercalls_devices.cpp
    HvStatus attach_device(Call& call);
    HvStatus detach_device(Call& call);
    HvStatus map_device_interrupt(Call& call);
    HvStatus unmap_device_interrupt(Call& call);
    GpaEdit map_device_page(Partition& partition, std::uint64_t gpa_page, std::uint64_t spa_page, bool large);

    HvStatus create_port(Call& call);
    HvStatus delete_port(Call& call);
    HvStatus connect_port(Call& call);
    HvStatus disconnect_port(Call& call);
    HvStatus get_port_property(Call& call);
    template <class Change>
    HvStatus with_object(Partition& partition, std::size_t more, Change change);
    HvStatus post_message(Call& call);
    HvStatus signal_event(Call& call);

    sim::Scope scope_;
    Partitions& partitions_;
    Ports& ports_;
    sim::Counter& calls_;
    sim::Counter& failures_;
};

}  // namespace hypervisor
