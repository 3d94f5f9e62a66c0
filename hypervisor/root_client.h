// The root's hypercalls as typed functions: they fill in the bytes, split long lists over several calls, go on where a
// rep call stopped, and deposit memory where the hypervisor asks for it, as the drivers of a real root partition do.
// Nothing here knows more of the hypervisor than the RootInterface.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "hypervisor/page_source.h"
#include "hypervisor/root_hypercalls.h"

namespace hypervisor {

// A value, or the status that came in its place.
template <class T>
struct [[nodiscard]] HvResult {
    HvStatus status = HvStatus::success;
    T value{};

    explicit operator bool() const { return status == HvStatus::success; }
    const T& operator*() const { return value; }
    const T* operator->() const { return &value; }
};

struct MemoryBalance {
    std::uint64_t available = 0;
    std::uint64_t in_use = 0;
};

struct GvaTranslation {
    HvTranslateGvaResult result = HvTranslateGvaResult::success;
    std::uint64_t gpa_page = 0;
    bool overlay = false;
};

class RootClient final {
public:
    // Memory to deposit comes from `pages`, and goes back there when it is withdrawn.
    RootClient(RootInterface& interface, PageSource& pages) : interface_(interface), pages_(pages) {}

    HvResult<PartitionId> create_partition(std::uint64_t flags = 0);
    [[nodiscard]] HvStatus initialize_partition(PartitionId partition);
    [[nodiscard]] HvStatus finalize_partition(PartitionId partition);
    // The partition's deposited memory comes back first.
    [[nodiscard]] HvStatus delete_partition(PartitionId partition);
    HvResult<std::uint64_t> get_property(PartitionId partition, HvPartitionProperty property);
    [[nodiscard]] HvStatus set_property(PartitionId partition, HvPartitionProperty property, std::uint64_t value);
    HvResult<PartitionId> partition_id();
    // Invalid (0) after the last.
    HvResult<PartitionId> next_child(PartitionId previous);

    // So many pages of the page source.
    [[nodiscard]] HvStatus deposit(PartitionId partition, std::uint64_t count);
    [[nodiscard]] HvStatus withdraw_all(PartitionId partition);
    HvResult<MemoryBalance> memory_balance(PartitionId partition);

    // Flags are map_gpa_flag; all page numbers are of 4 KiB.
    [[nodiscard]] HvStatus map_pages(PartitionId partition, std::uint64_t gpa_page,
                                     std::span<const std::uint64_t> spa_pages, std::uint32_t flags);
    // A contiguous range, with large pages where both sides are aligned.
    [[nodiscard]] HvStatus map_range(PartitionId partition, std::uint64_t gpa_page, std::uint64_t spa_page,
                                     std::uint64_t count, std::uint32_t flags);
    [[nodiscard]] HvStatus unmap_range(PartitionId partition, std::uint64_t gpa_page, std::uint64_t count);

    // From now on its pages say what was written to; nothing was, at first.
    [[nodiscard]] HvStatus track_accesses(PartitionId partition, bool on);
    // Of each page from gpa_page on: gpa_access_state. Their dirty flags are clear afterwards.
    [[nodiscard]] HvStatus take_access_states(PartitionId partition, std::uint64_t gpa_page,
                                              std::span<std::uint8_t> states);
    // All that the hypervisor keeps of a partition, but its memory. Its processors stand: explicit_suspend, at work on
    // nothing (else invalid_vp_state, and it may be asked again).
    HvResult<std::vector<std::byte>> save_state(PartitionId partition);
    // Into one that was made alike, and has not run.
    [[nodiscard]] HvStatus restore_state(PartitionId partition, std::span<const std::byte> state);

    [[nodiscard]] HvStatus install_intercept(PartitionId partition, std::uint32_t access_mask, HvInterceptType type,
                                             std::uint64_t parameter = 0);
    [[nodiscard]] HvStatus register_cpuid_result(PartitionId partition, const CpuidResult& result);
    [[nodiscard]] HvStatus register_msr_result(PartitionId partition, std::uint32_t msr, std::uint32_t access_mask,
                                               MsrAction action);

    [[nodiscard]] HvStatus create_vp(PartitionId partition, std::uint32_t index);
    [[nodiscard]] HvStatus delete_vp(PartitionId partition, std::uint32_t index);
    [[nodiscard]] HvStatus get_registers(PartitionId partition, std::uint32_t vp, std::span<const HvRegister> names,
                                         std::span<HvRegisterValue> values);
    [[nodiscard]] HvStatus set_registers(PartitionId partition, std::uint32_t vp,
                                         std::span<const std::pair<HvRegister, HvRegisterValue>> registers);
    HvResult<HvRegisterValue> get_register(PartitionId partition, std::uint32_t vp, HvRegister name);
    [[nodiscard]] HvStatus set_register(PartitionId partition, std::uint32_t vp, HvRegister name,
                                        HvRegisterValue value);
    HvResult<GvaTranslation> translate(PartitionId partition, std::uint32_t vp, std::uint64_t gva_page,
                                       std::uint64_t flags);
    // Any length; the value says where it ended otherwise than in success.
    HvResult<HvAccessGpaResult> read_gpa(PartitionId partition, std::uint32_t vp, std::uint64_t gpa,
                                         std::span<std::byte> out);
    HvResult<HvAccessGpaResult> write_gpa(PartitionId partition, std::uint32_t vp, std::uint64_t gpa,
                                          std::span<const std::byte> in);
    [[nodiscard]] HvStatus assert_interrupt(PartitionId partition, const InterruptRequest& request,
                                            std::uint64_t destination, bool logical = false);

    // `device` is a device_id; their registers are mapped as memory is.
    [[nodiscard]] HvStatus attach_device(PartitionId partition, std::uint64_t device, std::uint64_t logical);
    [[nodiscard]] HvStatus detach_device(PartitionId partition, std::uint64_t logical);
    HvResult<DeviceMessage> map_device_interrupt(PartitionId partition, std::uint64_t logical,
                                                 const InterruptTarget& target, std::uint32_t count = 1);
    [[nodiscard]] HvStatus unmap_device_interrupt(PartitionId partition, std::uint64_t logical,
                                                  const DeviceMessage& message);

    [[nodiscard]] HvStatus create_message_port(PortAddress port, PartitionId sender, std::uint32_t vp,
                                               std::uint32_t sint);
    [[nodiscard]] HvStatus create_event_port(PortAddress port, PartitionId sender, std::uint32_t vp, std::uint32_t sint,
                                             std::uint16_t base_flag, std::uint16_t flag_count);
    [[nodiscard]] HvStatus delete_port(PortAddress port);
    [[nodiscard]] HvStatus connect_port(PortAddress connection, PortAddress port, HvPortType type);
    [[nodiscard]] HvStatus disconnect_port(PortAddress connection);
    HvResult<std::uint64_t> port_property(PortAddress port, HvPortProperty property);
    [[nodiscard]] HvStatus post_message(ConnectionId connection, std::uint32_t message_type,
                                        std::span<const std::byte> payload);
    [[nodiscard]] HvStatus signal_event(ConnectionId connection, std::uint16_t flag);

private:
    struct Outcome {
        HvStatus status;
        std::uint32_t done;
    };
    Outcome raw(HvCall code, std::span<const std::byte> input, std::span<std::byte> output, std::uint32_t count = 0,
                std::uint32_t start = 0);
    template <class Input>
    HvStatus simple(HvCall code, const Input& input);
    template <class Input, class Output>
    HvStatus simple(HvCall code, const Input& input, Output& output);
    template <class Function>
    HvStatus with_deposits(PartitionId partition, Function function);
    HvStatus map_list(PartitionId partition, std::uint64_t gpa_page, std::span<const std::uint64_t> list,
                      std::uint64_t step, std::uint32_t flags);

    RootInterface& interface_;
    PageSource& pages_;
};

}  // namespace hypervisor
